use std::future::Future;
use std::time::Duration;

/// How long a request that writes back may take, from its beginning to the last
/// byte of the answer.
pub const REQUEST_MAX: Duration = Duration::from_secs(30);

/// Gives up on requests that take longer than `limit`: an answer can begin in time
/// and never end.
///
/// # Errors
/// Those of the requests, and [`kube::Error::Service`] after `limit`.
pub async fn within<T>(
    limit: Duration,
    requests: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    match tokio::time::timeout(limit, requests).await {
        Ok(result) => result,
        Err(elapsed) => Err(kube::Error::Service(Box::new(elapsed))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test]
    async fn what_never_ends_is_a_failure() {
        let never = within::<()>(Duration::from_millis(1), pending()).await;
        assert!(matches!(never, Err(kube::Error::Service(_))), "{never:?}");
        assert!(within(REQUEST_MAX, ready(Ok(7))).await.is_ok_and(|answer| answer == 7));
    }
}
