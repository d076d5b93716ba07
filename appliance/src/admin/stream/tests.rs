use super::*;
use crate::observe::{FilterQuery, Hub};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A watch whose pieces the test makes, and its other end.
fn watch(hub: &Arc<Hub>) -> (Watch, mpsc::Sender<Piece>) {
    let want = Follow::Drops { filter: FilterQuery::default() }.want().unwrap();
    let mut watch = hub.watch(want, None).unwrap();
    let (to, pieces) = mpsc::channel(8);
    watch.pieces = pieces;
    (watch, to)
}

/// More than a socket holds.
fn piece() -> Piece {
    Piece::Bytes(vec![b'x'; 16 << 20])
}

#[tokio::test]
async fn a_client_that_takes_nothing_gives_its_seat_up() {
    let hub = Arc::new(Hub::default());
    let (watch, to) = watch(&hub);
    assert_eq!(hub.watchers(), [0, 0], "workers have not been told");
    hub.begin_all();
    assert_eq!((hub.watchers(), hub.is_open()), ([1, 0], true));
    let (ours, _stopped) = UnixStream::pair().unwrap();
    to.send(piece()).await.unwrap();
    let patience = Duration::from_millis(20);
    let sent = send(&mut BufReader::new(ours), watch, None, patience).await;
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!((hub.watchers(), hub.is_open()), ([0, 0], false));
}

#[tokio::test]
async fn the_end_comes_in_time_while_a_client_takes_nothing() {
    let hub = Arc::new(Hub::default());
    let (watch, to) = watch(&hub);
    let (ours, _stopped) = UnixStream::pair().unwrap();
    to.send(piece()).await.unwrap();
    let mut ours = BufReader::new(ours);
    let time = Some(Duration::from_millis(20));
    let sending = send(&mut ours, watch, time, Duration::from_secs(60));
    let is_ending = async {
        while !hub.is_ending() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        sent = sending => panic!("{sent:?}"),
        () = is_ending => {}
    }
}
