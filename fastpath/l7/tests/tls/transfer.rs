use super::world::{Authority, block_on, default_only, drip, handshakes, meet_over, met, pipe};
use rustls::version::{TLS12, TLS13};
use sluice_l7::net::Stream;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

/// Bytes that differ from one place to another.
fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

#[test]
fn much_goes_both_ways_at_once_through_little_room() {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    let handshakes = handshakes();
    for (version, pipe, len) in [
        (&TLS13, drip(), 40_000),
        (&TLS12, drip(), 40_000),
        (&TLS13, pipe(1500), 3 << 20),
        (&TLS12, pipe(333), 1 << 20),
        (&TLS13, pipe(64 << 10), 8 << 20),
    ] {
        let client = Arc::new(authority.client_with(version));
        let (down, up) = (bytes(len, 1), bytes(len, 2));
        block_on(async {
            let (accepted, connected) =
                meet_over(pipe, &handshakes, &certificates, &client, "shop.example").await;
            let (mut read, mut write) = split(accepted.unwrap().0);
            let (mut far_read, mut far_write) = split(connected.unwrap());
            let (mut came_up, mut came_down) = (Vec::new(), Vec::new());
            let (sent, far_sent, read, far_read) = tokio::join!(
                async {
                    write.write_all(&down).await?;
                    write.shutdown().await
                },
                async {
                    far_write.write_all(&up).await?;
                    far_write.shutdown().await
                },
                read.read_to_end(&mut came_up),
                far_read.read_to_end(&mut came_down),
            );
            sent.unwrap();
            far_sent.unwrap();
            assert_eq!((read.unwrap(), far_read.unwrap()), (len, len));
            assert!(came_up == up && came_down == down, "{version:?}");
        });
    }
}

#[test]
fn parts_that_are_written_together_are_one_record() {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    let (client, handshakes) = (Arc::new(authority.client()), handshakes());
    block_on(async {
        let (mut stream, _, mut connected) =
            met(&handshakes, &certificates, &client, "shop.example").await;
        let parts = [IoSlice::new(b"head"), IoSlice::new(b""), IoSlice::new(b" and body")];
        assert!(tokio::io::AsyncWrite::is_write_vectored(&stream));
        assert_eq!(stream.write_vectored(&parts).await.unwrap(), 13);
        stream.flush().await.unwrap();
        let mut read = [0; 64];
        assert_eq!(connected.read(&mut read).await.unwrap(), 13);
        assert_eq!(&read[..13], b"head and body");
    });
}

#[test]
fn what_is_not_taken_is_not_encrypted() {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    let (client, handshakes) = (Arc::new(authority.client()), handshakes());
    block_on(async {
        let (accepted, connected) =
            meet_over(pipe(4096), &handshakes, &certificates, &client, "shop.example").await;
        let (mut stream, _connected) = (accepted.unwrap().0, connected.unwrap());
        let much = bytes(1 << 20, 3);
        let mut taken = 0;
        // Nobody reads: a record's worth is taken, and no more.
        std::future::poll_fn(|cx| {
            let stream = std::pin::Pin::new(&mut stream);
            match tokio::io::AsyncWrite::poll_write(stream, cx, &much) {
                std::task::Poll::Ready(len) => {
                    taken += len.unwrap();
                    cx.waker().wake_by_ref();
                    std::task::Poll::Pending
                }
                std::task::Poll::Pending => std::task::Poll::Ready(()),
            }
        })
        .await;
        assert_eq!(taken, 16 << 10);
    });
}

#[test]
fn an_end_that_was_said_is_an_end_and_one_that_was_not_is_an_error() {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    let handshakes = handshakes();
    for version in [&TLS12, &TLS13] {
        let client = Arc::new(authority.client_with(version));
        block_on(async {
            let (mut stream, _, mut connected) =
                met(&handshakes, &certificates, &client, "shop.example").await;
            connected.write_all(b"last words").await.unwrap();
            connected.shutdown().await.unwrap();
            let mut read = Vec::new();
            assert_eq!(stream.read_to_end(&mut read).await.unwrap(), 10);
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "and it stays so");
            // The other direction is open yet.
            stream.write_all(b"answer").await.unwrap();
            stream.shutdown().await.unwrap();
            stream.shutdown().await.unwrap();
            read.clear();
            assert_eq!(connected.read_to_end(&mut read).await.unwrap(), 6);

            let (mut stream, _, mut connected) =
                met(&handshakes, &certificates, &client, "shop.example").await;
            connected.write_all(b"cut off").await.unwrap();
            connected.flush().await.unwrap();
            connected.get_mut().0.shutdown().await.unwrap();
            read.clear();
            let error = stream.read_to_end(&mut read).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            assert_eq!(read, b"cut off");
        });
    }
}

#[test]
fn the_ends_are_those_of_the_connection() {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    let (client, handshakes) = (Arc::new(authority.client()), handshakes());
    let (stream, ..) = block_on(met(&handshakes, &certificates, &client, "shop.example"));
    assert_eq!(stream.local(), "192.0.2.1:443".parse().unwrap());
    assert_eq!(stream.remote(), "192.0.2.7:40000".parse().unwrap());
}
