use super::health::SourceHealth;
use super::raw::{Raw, resource};
use super::secrets;
use crate::kubernetes::pauses::pauses;
use crate::object::Kind;
use backon::ExponentialBackoff;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use kube::{Api, Client};
use std::time::Duration;

/// How long a watch lasts before it is begun anew, in seconds. kube's watcher
/// gives up one on which nothing comes for 5 s longer, not even a bookmark.
const WATCH_S: u32 = 120;

/// First and longest pause after a failure; each is prolonged at random, to the
/// double at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How often it is looked whether a server has a kind by now that it may lack.
const ABSENT: Duration = Duration::from_secs(5);

/// How often in a row a server must say that it does not have a kind of which it
/// has listed objects: they are in force until then.
const GONE_AFTER: usize = 3;

/// The first minor version of Kubernetes 1 whose servers stream lists by
/// default (KEP-3157).
const STREAMING_SINCE: u32 = 32;

/// Events of one kind, for ever: failures are paused for, noted, and got over. Of a
/// kind that a cluster may lack, an empty list comes if it does.
pub fn watch(
    kind: Kind,
    client: Client,
    health: SourceHealth,
) -> BoxStream<'static, (Kind, Event<Raw>)> {
    watch_with(kind, client, health, ABSENT)
}

fn watch_with(
    kind: Kind,
    client: Client,
    health: SourceHealth,
    absent_pause: Duration,
) -> BoxStream<'static, (Kind, Event<Raw>)> {
    let watch = Watch {
        kind,
        client,
        health,
        strategy: None,
        events: None,
        pauses: pauses(PAUSE.0, PAUSE.1),
        is_listing: false,
        attempt: 0,
        unknown: 0,
        absence: Absence::NotYet,
        has_begun: false,
        queued: None,
        absent_pause,
    };
    unfold(watch, |mut watch| async move {
        let event = watch.next().await;
        Some(((watch.kind, event), watch))
    })
    .boxed()
}

struct Watch {
    kind: Kind,
    client: Client,
    health: SourceHealth,
    /// Known once the server has told its version.
    strategy: Option<InitialListStrategy>,
    events: Option<BoxStream<'static, watcher::Result<Event<Raw>>>>,
    pauses: ExponentialBackoff,
    /// A list has begun and is not done.
    is_listing: bool,
    /// Which of the kind's API versions is asked for.
    attempt: usize,
    /// How often in a row the server has said that it does not have the kind.
    unknown: usize,
    absence: Absence,
    absent_pause: Duration,
    /// A list of a kind that may be absent has begun, which is told when
    /// something comes.
    has_begun: bool,
    /// What comes next.
    queued: Option<Event<Raw>>,
}

/// What is known of whether a server has a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    /// Nothing.
    NotYet,
    /// A list was whole.
    Listed,
    /// It does not have it, which has been told.
    Told,
}

impl Watch {
    async fn next(&mut self) -> Event<Raw> {
        loop {
            if let Some(event) = self.queued.take() {
                return event;
            }
            let Some(strategy) = self.strategy.clone() else {
                self.ask_version().await;
                continue;
            };
            let api = Api::<Raw>::all_with(self.client.clone(), &resource(self.kind, self.attempt));
            let config = watcher::Config {
                timeout: Some(WATCH_S),
                initial_list_strategy: strategy,
                field_selector: (self.kind == Kind::Secret).then(secrets::selector),
                ..watcher::Config::default()
            };
            let events = self.events.get_or_insert_with(|| watcher(api, config).boxed());
            match events.next().await {
                Some(Ok(Event::Init)) => {
                    // The one before broke off without a word: without a pause,
                    // a server that does so would be asked without end.
                    if std::mem::replace(&mut self.is_listing, true) {
                        self.note("the list broke off");
                        self.pause().await;
                    }
                    if self.kind.is_optional() {
                        self.has_begun = true;
                        continue;
                    }
                    self.health.listed(self.kind);
                    return Event::Init;
                }
                Some(Ok(event)) => {
                    self.came(&event);
                    if std::mem::take(&mut self.has_begun) {
                        self.health.listed(self.kind);
                        self.queued = Some(event);
                        return Event::Init;
                    }
                    let of_use = match self.kind {
                        Kind::Secret => secrets::of_use(event),
                        _ => Some(event),
                    };
                    if let Some(event) = of_use {
                        return event;
                    }
                }
                Some(Err(error)) if self.kind.is_optional() && is_unknown(&error) => {
                    if self.is_absent().await {
                        return Event::Init;
                    }
                }
                Some(Err(error)) => self.failed(&error).await,
                None => self.events = None,
            }
        }
    }

    fn came(&mut self, event: &Event<Raw>) {
        self.unknown = 0;
        if matches!(event, Event::InitDone) {
            self.is_listing = false;
            self.absence = Absence::Listed;
        } else {
            self.health.came(self.kind);
        }
        if !self.is_listing {
            self.pauses = pauses(PAUSE.0, PAUSE.1);
        }
    }

    /// The server has answered that it does not have the kind by one of its API
    /// versions. True: it has it by none, and that has to be told.
    async fn is_absent(&mut self) -> bool {
        let versions = self.kind.api_versions().len();
        (self.is_listing, self.has_begun, self.events) = (false, false, None);
        self.attempt += 1;
        self.unknown += 1;
        // It is there, and does what it is asked.
        self.health.answered(self.kind);
        let rounds = if self.absence == Absence::Listed { GONE_AFTER } else { 1 };
        if !self.unknown.is_multiple_of(versions) {
            return false;
        }
        if self.absence == Absence::Told {
            tokio::time::sleep(self.absent_pause).await;
            return false;
        }
        if self.unknown < rounds * versions {
            self.pause().await;
            return false;
        }
        tracing::info!(kind = self.kind.as_str(), "the API server does not have this kind");
        (self.absence, self.queued) = (Absence::Told, Some(Event::InitDone));
        true
    }

    /// Chooses how to list by the server's version.
    async fn ask_version(&mut self) {
        match self.client.apiserver_version().await {
            Ok(version) => {
                let number = |text: &str| text.trim_end_matches('+').parse::<u32>().unwrap_or(0);
                let is_streaming =
                    (number(&version.major), number(&version.minor)) >= (1, STREAMING_SINCE);
                self.strategy = Some(match is_streaming {
                    true => InitialListStrategy::StreamingList,
                    false => InitialListStrategy::ListWatch,
                });
            }
            Err(error) => {
                self.note(&text_of(&error));
                self.pause().await;
            }
        }
    }

    async fn failed(&mut self, error: &watcher::Error) {
        self.is_listing = false;
        if self.strategy == Some(InitialListStrategy::StreamingList) && refuses_streams(error) {
            tracing::info!(kind = self.kind.as_str(), "the API server does not stream lists");
            self.strategy = Some(InitialListStrategy::ListWatch);
            self.events = None;
            return;
        }
        if is_unknown(error) && self.kind.api_versions().len() > 1 {
            self.attempt += 1;
            self.events = None;
        }
        self.note(&text_of(error));
        self.pause().await;
    }

    fn note(&self, error: &str) {
        tracing::debug!(kind = self.kind.as_str(), error, "the API server fails");
        self.health.failed(self.kind, &format!("{}: {error}", self.kind.as_str()));
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.pauses.next().unwrap_or(PAUSE.1)).await;
    }
}

/// Whether a server does not have a kind by this API version.
fn is_unknown(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

/// Whether a server refused `sendInitialEvents`, since its feature WatchList is
/// off.
fn refuses_streams(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            matches!(status.code, 400 | 422)
        }
        _ => false,
    }
}

/// An error with its causes, which most of them do not tell by themselves.
fn text_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
