use super::{ClientAuth, UpstreamId};
use crate::chunked::Chunked;
use crate::http_routes::{HttpRouteId, HttpRoutes, Request, Rewrite};
use std::sync::Arc;
use std::time::Duration;

/// All routes of a listener. Cloning it copies pointers.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// Which route a request takes.
    pub matches: HttpRoutes,
    /// The routes, by [`HttpRouteId`]; `None` where one has gone.
    pub routes: Chunked<Option<Arc<HttpRoute>>>,
}

impl RouteTable {
    /// The route that a request takes.
    pub fn find(&self, request: &Request<'_>) -> Option<&Arc<HttpRoute>> {
        let HttpRouteId(id) = self.matches.find(request)?;
        self.routes.get(id)?.as_ref()
    }
}

/// What becomes of the requests of a route.
#[derive(Clone, Debug)]
pub struct HttpRoute {
    /// The object that it is from, such as `Ingress shop/web`: metrics go by it.
    pub object: Arc<str>,
    /// What of the object it is, such as `spec.rules[0].http.paths[1]`.
    pub place: Arc<str>,
    /// What is done.
    pub action: RouteAction,
    /// Requests without TLS are sent to HTTPS instead.
    pub https_redirect: bool,
    /// What clients have to show; `None`: nothing. Requests are not served that came by a
    /// connection which was asked for less.
    pub client_auth: Option<Arc<ClientAuth>>,
    /// The path that backends are asked for, in place of the client's.
    pub rewrite: Option<Rewrite>,
    /// Most bytes of the body of a request; `None`: any.
    pub body_bytes_max: Option<u64>,
    /// How long a connection to a backend may take.
    pub connect_timeout: Duration,
    /// How long a backend may send nothing while it is waited for.
    pub read_timeout: Duration,
    /// How long a backend may take nothing of what is sent.
    pub send_timeout: Duration,
}

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteAction {
    /// It goes to an endpoint.
    Forward(UpstreamId),
    /// It is refused: the object asks for what is not supported.
    Unsupported,
}
