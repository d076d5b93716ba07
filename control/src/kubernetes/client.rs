use super::answer::Answer;
use super::{Access, AccessError};
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;

/// How often the files of the credentials are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Least time between two looks that answers of 401 bring about.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long the server may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Told of each request that is answered: its path, and whether the server
/// granted it, and went on to say what was asked for.
pub type Observer = Arc<dyn Fn(&str, bool) + Send + Sync>;

/// A way to the API server that outlives its credentials: they are read again
/// when their files change, or when the server no longer knows them. Requests
/// that are under way end with what they began with.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    access: Access,
    current: RwLock<Result<Client, String>>,
    /// The server did not accept the credentials.
    is_refused: Arc<Notify>,
    observer: Option<Observer>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("access", &self.access).finish_non_exhaustive()
    }
}

impl Connection {
    /// Reads the credentials, and goes on to look at them on a task of the
    /// runtime that this is called in. Bad credentials are no error here: they
    /// may get better.
    pub async fn open(access: Access, observer: Option<Observer>) -> Self {
        let seen = access.fingerprint();
        let current = RwLock::new(client_of(&access).await.map_err(|error| error.to_string()));
        let is_refused = Arc::new(Notify::new());
        let shared = Shared { access, current, is_refused: is_refused.clone(), observer };
        let shared = Arc::new(shared);
        let connection = Connection { shared };
        if let Some(trouble) = connection.trouble() {
            tracing::error!("{trouble}");
        }
        tokio::spawn(watch(Arc::downgrade(&connection.shared), is_refused, seen));
        connection
    }

    /// The client to use. It stays good when the credentials change.
    pub fn client(&self) -> Client {
        let namespace = match &*self.current() {
            Ok(client) => client.default_namespace().to_owned(),
            Err(_) => "default".to_owned(),
        };
        Client::new(Rotating { connection: self.clone() }, namespace)
    }

    /// What is wrong with the credentials.
    pub fn trouble(&self) -> Option<String> {
        self.current().as_ref().err().cloned()
    }

    fn current(&self) -> RwLockReadGuard<'_, Result<Client, String>> {
        self.shared.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn client_of(access: &Access) -> Result<Client, AccessError> {
    let config = access.load().await?;
    Client::try_from(config).map_err(|error| AccessError::Client(Box::new(error)))
}

/// Looks at the files until nobody uses the connection any more.
async fn watch(shared: Weak<Shared>, is_refused: Arc<Notify>, mut seen: u64) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = is_refused.notified() => tokio::time::sleep(LOOK_AGAIN).await,
        }
        let Some(strong) = shared.upgrade() else { return };
        let fingerprint = strong.access.fingerprint();
        if fingerprint == seen {
            continue;
        }
        seen = fingerprint;
        match client_of(&strong.access).await {
            Ok(client) => {
                tracing::info!("the credentials have changed on disk, and are used");
                *strong.current.write().unwrap_or_else(PoisonError::into_inner) = Ok(client);
            }
            Err(error) => {
                // Half of a rotation, perhaps: what was good goes on.
                tracing::error!("{error}");
                let mut current = strong.current.write().unwrap_or_else(PoisonError::into_inner);
                if current.is_err() {
                    *current = Err(error.to_string());
                }
            }
        }
    }
}

/// Sends each request by the credentials of the moment.
struct Rotating {
    connection: Connection,
}

impl tower_service::Service<Request<Body>> for Rotating {
    type Response = Response<Answer>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = match &*self.connection.current() {
            Ok(client) => Ok(client.clone()),
            Err(trouble) => Err(trouble.clone()),
        };
        let connection = self.connection.clone();
        Box::pin(async move {
            let uri = request.uri().clone();
            let response = tokio::time::timeout(ANSWER_TIMEOUT, client?.send(request)).await??;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED {
                connection.shared.is_refused.notify_one();
            }
            let (observer, path) = (connection.shared.observer.clone(), uri.path().to_owned());
            let told = Box::new(move |is_whole| {
                if let Some(observer) = observer {
                    observer(&path, is_whole && status.is_success());
                }
            });
            Ok(Answer::of(&uri, response, told))
        })
    }
}
