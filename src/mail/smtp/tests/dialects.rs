//! What servers may say in other words than usual (F51).

use super::*;

#[tokio::test]
async fn keywords_of_extensions_mean_the_same_in_any_case() {
    let server = answering("EHLO", || Answer::Say("250-Test\r\n250-pipelining\r\n250 auth plain login"));
    let smtp = client_of(&format!("smtp://ada:hunter2@127.0.0.1:{}?tls=none", server.port), limits());
    smtp.send(&mail()).await.unwrap();
    assert!(server.verbs().contains(&"AUTH".to_owned()), "{:?}", server.verbs());
}

#[tokio::test]
async fn a_code_alone_is_a_reply() {
    for verb in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."] {
        let bare: fn() -> Answer = match verb {
            "CONNECT" => || Answer::Say("220"),
            "DATA" => || Answer::Say("354"),
            _ => || Answer::Say("250"),
        };
        let server = answering(verb, bare);
        client(&server).send(&mail()).await.unwrap_or_else(|error| panic!("{verb}: {error}"));
    }
    let server = answering("EHLO", || Answer::Bytes(b"250-\r\n250 \r\n"));
    client(&server).send(&mail()).await.unwrap();
    let server = answering("RCPT", || Answer::Say("550"));
    let SendError::Rejected(trouble) = error_of(&server).await else { panic!("a bare 550 is the recipient's") };
    assert_eq!(trouble.said, "");
    // the same before TLS
    let server = Server::start(|_, line| match line {
        "CONNECT" => Answer::Say("220"),
        "STARTTLS" => Answer::Say("454"),
        line if line.starts_with("EHLO") => Answer::Bytes(b"250-\r\n250 starttls\r\n"),
        _ => Answer::Usual,
    });
    let smtp = client_of(&format!("smtp://127.0.0.1:{}", server.port), limits());
    let SendError::Temporary(trouble) = smtp.send(&mail()).await.unwrap_err() else { panic!("it passes") };
    assert_eq!(trouble.code, Some(454));
}

#[tokio::test]
async fn any_2yz_after_the_dot_is_the_end_of_it() {
    for said in [|| Answer::Say("251 2.1.5 forwarded"), || Answer::Say("252 taken"), || Answer::Say("200")] {
        let server = answering(".", said);
        let smtp = client(&server);
        smtp.send(&mail()).await.unwrap();
        smtp.send(&mail()).await.unwrap();
        assert_eq!((server.messages().len(), server.connections()), (2, 1));
    }
    let server = answering(".", || Answer::Say("354 more"));
    assert!(matches!(error_of(&server).await, SendError::Temporary(_)));
}

#[tokio::test]
async fn an_address_that_drops_what_is_sent_to_it_does_not_keep_the_time_of_the_next() {
    let deaf = tokio::net::TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let deaf = deaf.listen(0).unwrap();
    let dropped = deaf.local_addr().unwrap();
    // a queue that is full drops every SYN
    let mut held = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(500), tokio::net::TcpStream::connect(dropped)).await {
        held.push(connected.unwrap());
    }
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(|_, _| Answer::Usual);
    let works = ([127, 0, 0, 1], server.port).into();
    for addresses in [vec![dropped, works], vec![refused, dropped, works], vec![works, dropped], vec![refused, works]] {
        let connected = timeout(limits().connect / 2, starttls::connect_to_any(addresses.into_iter())).await;
        assert_eq!(connected.unwrap().unwrap().peer_addr().unwrap(), works);
    }
    for none in [vec![], vec![refused], vec![refused, refused]] {
        assert!(starttls::connect_to_any(none.into_iter()).await.is_err());
    }
}
