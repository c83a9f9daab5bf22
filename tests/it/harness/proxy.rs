//! The network that fails on command.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::ports;
use crate::support::proxy::{Direction, Mode, Proxy};

/// A proxy before a server that sends back what it gets.
async fn echo() -> Proxy {
    let listener = ports::listen().await;
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    Proxy::start(address).await
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.expect("the proxy listens")
}

async fn exchange(stream: &mut TcpStream, word: &[u8]) {
    stream.write_all(word).await.expect("the proxy reads");
    let mut answer = vec![0; word.len()];
    stream.read_exact(&mut answer).await.expect("the answer comes");
    assert_eq!(answer, word);
}

#[tokio::test]
async fn it_passes_bytes_and_the_end_of_a_stream() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    exchange(&mut stream, b"hello").await;

    let much = vec![7; 1 << 20];
    let (mut from, mut to) = stream.split();
    let mut back = Vec::new();
    let (sent, read) = tokio::join!(
        async {
            to.write_all(&much).await?;
            to.shutdown().await
        },
        from.read_to_end(&mut back)
    );
    sent.expect("all is sent");
    read.expect("all is read");
    assert!(back == much, "{} bytes came back", back.len());
}

#[tokio::test]
async fn it_delays_both_ways() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    proxy.set(Mode::Delay(Duration::from_millis(40)));
    let before = Instant::now();
    exchange(&mut stream, b"hello").await;
    assert!(before.elapsed() >= Duration::from_millis(80), "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_black_hole_swallows_until_it_passes_again() {
    let proxy = echo().await;
    let mut old = connect(&proxy).await;
    exchange(&mut old, b"before").await;

    proxy.set(Mode::Blackhole);
    let mut new = connect(&proxy).await;
    for stream in [&mut old, &mut new] {
        stream.write_all(b"during").await.expect("the system takes it");
        let silence = timeout(Duration::from_millis(50), stream.read_u8()).await;
        assert!(silence.is_err(), "nothing passes: {silence:?}");
    }

    proxy.set(Mode::Pass);
    for mut stream in [old, new] {
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).await.expect("what was sent meanwhile passes");
        assert_eq!(&answer, b"during");
    }
}

#[tokio::test]
async fn a_cut_ends_every_connection_until_it_passes_again() {
    let proxy = echo().await;
    let mut old = connect(&proxy).await;
    exchange(&mut old, b"before").await;

    proxy.set(Mode::Cut);
    assert_eq!(old.read(&mut [0]).await.expect("an end in order"), 0);
    let mut new = connect(&proxy).await;
    assert_eq!(new.read(&mut [0]).await.expect("an end in order"), 0);

    proxy.set(Mode::Pass);
    exchange(&mut connect(&proxy).await, b"after").await;
}

#[tokio::test]
async fn a_reset_is_one() {
    let proxy = echo().await;
    let mut old = connect(&proxy).await;
    exchange(&mut old, b"before").await;
    proxy.set(Mode::Reset);
    assert_eq!(old.read(&mut [0]).await.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    let mut new = connect(&proxy).await;
    assert_eq!(new.read(&mut [0]).await.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn it_cuts_after_the_bytes_of_one_direction() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        exchange(&mut stream, b"not counted").await;
        proxy.set(Mode::CutAfter { direction, bytes: 7 });
        exchange(&mut stream, b"12345").await;
        stream.write_all(b"6789").await.expect("the proxy reads");
        let mut last = Vec::new();
        stream.read_to_end(&mut last).await.expect("an end in order");
        match direction {
            // the server got them, but its answer may be cut off with the connection
            Direction::ToServer => assert!(b"67".starts_with(&last), "{last:?}"),
            Direction::ToClient => assert_eq!(last, b"67"),
        }
    }
}

#[tokio::test]
async fn a_url_by_way_of_it_differs_only_in_the_address() {
    let (proxy, url) = Proxy::before("postgres://guest:secret@localhost:5432/rooms?x=1").await;
    assert_eq!(url, format!("postgres://guest:secret@{}/rooms?x=1", proxy.address()));
}
