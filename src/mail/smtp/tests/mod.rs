mod dialects;
mod encryption;
mod server;

use std::sync::atomic::{AtomicUsize, Ordering};

use server::{Answer, Server};

use super::*;

/// A line without end, longer than any answer may be.
static LONG_LINE: &[u8] = &[b'x'; 200_000];

fn limits() -> SmtpLimits {
    // Short enough for tests that run into one, long enough for a busy machine where none should.
    SmtpLimits { reply: Duration::from_secs(5), data: Duration::from_secs(5), ..SmtpLimits::default() }
}

fn client_of(url: &str, limits: SmtpLimits) -> Smtp {
    let sender = Sender::parse("Bellhop <no-reply@example.com>").unwrap();
    Smtp::new(SmtpSettings::parse(url).unwrap(), sender, Clock::default(), limits).unwrap()
}

fn client(server: &Server) -> Smtp {
    client_of(&format!("smtp://127.0.0.1:{}?tls=none", server.port), limits())
}

fn mail() -> Mail {
    Mail {
        to: "ada@example.org".into(),
        to_name: None,
        subject: "Confirm your address".into(),
        text: "Hello\n.\n..\n.Ada".into(),
        html: "<p>Hello</p>".into(),
        message_id: "<0198.confirmation@example.com>".into(),
        language: "en",
    }
}

/// Answers `answer` to every line that starts with `verb`.
fn answering(verb: &'static str, answer: fn() -> Answer) -> Server {
    Server::start(move |_, line| if line.starts_with(verb) { answer() } else { Answer::Usual })
}

async fn error_of(server: &Server) -> SendError {
    client(server).send(&mail()).await.unwrap_err()
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_built() {
    let server = answering(".", || Answer::Say("250 2.0.0 queued as 4711"));
    let smtp = client(&server);
    assert_eq!(smtp.health(), Health::Untried);
    let receipt = smtp.send(&mail()).await.unwrap();
    assert_eq!(receipt.response, "250 2.0.0 queued as 4711");
    assert!(matches!(smtp.health(), Health::Working { .. }));
    assert_eq!(server.verbs(), ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."]);
    let commands = server.messages();
    assert!(commands[0].contains("\r\n\r\nHello\r\n.\r\n..\r\n.Ada\r\n"), "{}", commands[0]);
    assert!(commands[0].contains("Message-ID: <0198.confirmation@example.com>\r\n"));
}

#[tokio::test]
async fn many_mails_share_one_connection_until_it_has_carried_its_share() {
    let server = Server::start(|_, _| Answer::Usual);
    let limits = SmtpLimits { mails_per_connection: 10, ..limits() };
    let smtp = client_of(&format!("smtp://127.0.0.1:{}?tls=none", server.port), limits);
    for _ in 0..10 {
        smtp.send(&mail()).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
    smtp.send(&mail()).await.unwrap();
    assert_eq!(server.connections(), 2);
    assert_eq!(server.verbs().iter().filter(|verb| *verb == "QUIT").count(), 1);
    smtp.close().await;
    assert_eq!(server.verbs().iter().filter(|verb| *verb == "QUIT").count(), 2);
}

#[tokio::test]
async fn mails_at_the_same_time_use_no_more_connections_than_allowed() {
    let server = Server::start(|_, _| Answer::Usual);
    let limits = SmtpLimits { connections: 2, ..limits() };
    let smtp = client_of(&format!("smtp://127.0.0.1:{}?tls=none", server.port), limits);
    let mail = mail();
    let sent = futures_util::future::join_all((0..20).map(|_| smtp.send(&mail))).await;
    assert!(sent.iter().all(Result::is_ok));
    assert_eq!(server.messages().len(), 20);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_rested_too_long_is_not_used_again() {
    let server = Server::start(|_, _| Answer::Usual);
    let limits = SmtpLimits { idle: Duration::ZERO, ..limits() };
    let smtp = client_of(&format!("smtp://127.0.0.1:{}?tls=none", server.port), limits);
    smtp.send(&mail()).await.unwrap();
    smtp.send(&mail()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_resting_connection_that_died_is_replaced_without_a_word() {
    static MAILS: AtomicUsize = AtomicUsize::new(0);
    static MORE_MAILS: AtomicUsize = AtomicUsize::new(0);
    let deaths: [fn(usize, &str) -> Answer; 3] = [
        |number, line| if number == 1 && line == "." { Answer::UsualThenClose } else { Answer::Usual },
        |number, line| {
            let again = number == 1 && line.starts_with("MAIL") && MAILS.fetch_add(1, Ordering::SeqCst) > 0;
            if again { Answer::Say("421 4.4.2 idle too long") } else { Answer::Usual }
        },
        |number, line| {
            let again = number == 1 && line.starts_with("MAIL") && MORE_MAILS.fetch_add(1, Ordering::SeqCst) > 0;
            if again { Answer::Close } else { Answer::Usual }
        },
    ];
    for death in deaths {
        let server = Server::start(death);
        let smtp = client(&server);
        smtp.send(&mail()).await.unwrap();
        smtp.send(&mail()).await.unwrap();
        assert_eq!(server.connections(), 2);
        assert_eq!(server.messages().len(), 2);
    }
}

#[tokio::test]
async fn a_fresh_connection_that_dies_is_not_tried_twice() {
    let server = answering("MAIL", || Answer::Close);
    assert!(matches!(error_of(&server).await, SendError::Temporary(_)));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn answers_with_4_are_temporary_wherever_they_come() {
    for verb in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."] {
        for answer in [|| Answer::Say("421 4.3.2 closing"), || Answer::Say("451-4.3.0 later\r\n451 4.3.0 please")] {
            let server = answering(verb, answer);
            let error = error_of(&server).await;
            let SendError::Temporary(trouble) = error else { panic!("{verb}: {error:?}") };
            let text = trouble.to_string();
            assert!(text.ends_with("(421 4.3.2)") || text.ends_with("(451 4.3.0)"), "{verb}: {text}");
            assert!(["4.3.2 closing", "4.3.0 later please"].contains(&trouble.said.as_str()), "{trouble:?}");
        }
    }
}

/// F50. The tables have a test of their own; this is what becomes of it.
#[tokio::test]
async fn only_a_refused_recipient_is_final_and_all_else_waits_for_an_operator() {
    type Case = (&'static str, fn() -> Answer, Class, &'static str, bool);
    let cases: [Case; 15] = [
        ("MAIL", || Answer::Say("550 5.1.8 bad sender"), Class::Sender, "550 5.1.8", true),
        ("MAIL", || Answer::Say("552 too big"), Class::Message, "552", true),
        ("RCPT", || Answer::Say("550 5.1.1 no such user"), Class::Recipient, "550 5.1.1", false),
        ("RCPT", || Answer::Say("550 no such user"), Class::Recipient, "550", false),
        ("RCPT", || Answer::Say("552 5.2.2 mailbox full"), Class::Recipient, "552 5.2.2", false),
        ("RCPT", || Answer::Say("554 5.7.1 relay access denied"), Class::Policy, "554 5.7.1", true),
        ("RCPT", || Answer::Say("504 5.5.2 <test>: Helo command rejected"), Class::Protocol, "504 5.5.2", true),
        ("RCPT", || Answer::Say("550 5.1.0 Sender rejected"), Class::Sender, "550 5.1.0", true),
        ("RCPT", || Answer::Say("550 relay not permitted, authentication required"), Class::Login, "550", true),
        ("RCPT", || Answer::Say("553 not in rcpthosts (#5.7.1)"), Class::Policy, "553 5.7.1", true),
        ("RCPT", || Answer::Say("550 5.4.5 Daily user sending limit exceeded"), Class::Quota, "550 5.4.5", true),
        ("RCPT", || Answer::Say("451 4.7.1 greylisted"), Class::Busy, "451 4.7.1", false),
        ("DATA", || Answer::Say("554 no"), Class::Policy, "554", true),
        (".", || Answer::Say("554 5.6.0 spam"), Class::Message, "554 5.6.0", true),
        (".", || Answer::Say("550 5.1.1 no such user"), Class::Recipient, "550 5.1.1", false),
    ];
    for (verb, answer, class, codes, degraded) in cases {
        let server = answering(verb, answer);
        let smtp = client(&server);
        let error = smtp.send(&mail()).await.unwrap_err();
        let (trouble, rejected) = match &error {
            SendError::Rejected(trouble) => (trouble, true),
            SendError::Temporary(trouble) => (trouble, false),
            SendError::Withdrawn => panic!("withdrawn"),
        };
        assert_eq!((trouble.class, rejected), (class, class == Class::Recipient), "{codes}");
        assert!(error.to_string().ends_with(&format!("({codes})")), "{error}");
        assert_eq!(matches!(smtp.health(), Health::Failing { .. }), degraded, "{codes}");
    }
}

/// F46.
#[tokio::test]
async fn what_a_server_repeats_of_a_mail_is_in_no_error_and_in_no_health() {
    let server = answering("RCPT", || {
        Answer::Say(
            "554 5.7.1 <ada@example.org>: ada is listed, see http://desk.example/confirm?token=AbCdEfGh1234567890",
        )
    });
    let smtp = client(&server);
    let error = smtp.send(&mail()).await.unwrap_err();
    let SendError::Temporary(trouble) = &error else { panic!("{error:?}") };
    assert_eq!(trouble.said, "5.7.1 <…>: … is listed, see …");
    let Health::Failing { reason, .. } = smtp.health() else { panic!("{:?}", smtp.health()) };
    for shown in [format!("{error:?}"), error.to_string(), reason] {
        for quoted in ["ada", "example.org", "token", "AbCd"] {
            assert!(!shown.contains(quoted), "{shown}");
        }
    }
}

/// F45.
#[tokio::test]
async fn a_mail_that_is_kept_back_is_told_what_a_whole_one_would_be() {
    static REFUSES: AtomicUsize = AtomicUsize::new(0);
    let slow = Duration::from_millis(300);
    let server = Server::start(move |_, line| match line {
        "." => {
            std::thread::sleep(slow);
            let refused = REFUSES.load(Ordering::SeqCst) == 1;
            if refused { Answer::Say("451 4.3.0 later") } else { Answer::Usual }
        }
        line if line.contains("nobody") => Answer::Say("550 5.1.1 unknown"),
        _ => Answer::Usual,
    });
    let smtp = client(&server);
    let keep_back = async |mail: &Mail| {
        let since = Instant::now();
        (smtp.send_if(mail, Handover::KeptBack, async || true).await, since.elapsed())
    };
    assert!(keep_back(&mail()).await.0.is_ok(), "nothing was sent yet");
    smtp.send(&mail()).await.unwrap();
    let (taken, took) = keep_back(&mail()).await;
    assert!(taken.is_ok() && took >= slow, "{took:?}");
    REFUSES.store(1, Ordering::SeqCst);
    let whole = smtp.send(&mail()).await.unwrap_err();
    let (refused, took) = keep_back(&mail()).await;
    assert_eq!(refused.unwrap_err(), whole);
    assert!(took >= slow, "{took:?}");
    let (refused, _) = keep_back(&Mail { to: "nobody@example.org".into(), ..mail() }).await;
    assert!(matches!(refused, Err(SendError::Rejected(_))), "{refused:?}");
    let withdrawn = smtp.send_if(&mail(), Handover::KeptBack, async || false).await;
    assert_eq!(withdrawn.unwrap_err(), SendError::Withdrawn);
    assert_eq!(server.messages().len(), 2, "nothing of it was sent");
    assert_eq!(server.connections(), 1, "{:?}", server.verbs());
}

#[tokio::test]
async fn a_refused_recipient_costs_no_connection_and_is_no_illness_of_the_server() {
    let server = Server::start(|_, line| {
        if line.starts_with("RCPT") && line.contains("nobody") {
            Answer::Say("550 5.1.1 unknown")
        } else {
            Answer::Usual
        }
    });
    let smtp = client(&server);
    let wrong = Mail { to: "nobody@example.org".into(), ..mail() };
    for _ in 0..3 {
        assert!(matches!(smtp.send(&wrong).await, Err(SendError::Rejected(_))));
        assert!(matches!(smtp.health(), Health::Working { .. }));
        smtp.send(&mail()).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(server.messages().len(), 3);
}

#[tokio::test]
async fn a_refused_login_is_temporary_and_shows_no_password() {
    let refusals: [fn() -> Answer; 2] =
        [|| Answer::Say("535 5.7.8 no: ada hunter2"), || Answer::Say("535 5.7.8 no: AGFkYQBodW50ZXIy aHVudGVyMg==")];
    for refusal in refusals {
        let server = answering("AUTH", refusal);
        let smtp = client_of(&format!("smtp://ada:hunter2@127.0.0.1:{}?tls=none", server.port), limits());
        let error = smtp.send(&mail()).await.unwrap_err();
        let SendError::Temporary(trouble) = &error else { panic!("{error:?}") };
        let health = format!("{:?}", smtp.health());
        for shown in [format!("{error:?}"), error.to_string(), health.clone(), smtp.describe()] {
            for secret in ["hunter2", "AGFkYQBodW50ZXIy", "aHVudGVyMg"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        assert!(trouble.said.starts_with("5.7.8 no:"), "{trouble:?}");
        assert_eq!((trouble.class, trouble.code), (Class::Login, Some(535)));
        assert!(health.starts_with("Failing"));
        assert!(!server.verbs().contains(&"MAIL".to_owned()));
    }
}

#[tokio::test]
async fn a_server_that_wants_a_login_is_told_to_the_operator_and_not_to_the_person() {
    let server = answering("MAIL", || Answer::Say("530 5.7.0 authentication required"));
    assert!(matches!(error_of(&server).await, SendError::Temporary(_)));
}

#[tokio::test]
async fn a_refused_connection_is_temporary_and_health_knows_since_when() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let clock = Clock::default();
    let settings = SmtpSettings::parse(&format!("smtp://127.0.0.1:{port}?tls=none")).unwrap();
    let smtp = Smtp::new(settings, Sender::parse("a@b.example").unwrap(), clock.clone(), limits()).unwrap();
    let before = clock.now();
    for _ in 0..2 {
        let error = smtp.send(&mail()).await.unwrap_err();
        assert!(
            matches!(&error, SendError::Temporary(trouble) if trouble.to_string().contains("refused")),
            "{error:?}"
        );
        clock.advance(Duration::from_hours(1));
    }
    let Health::Failing { since, reason } = smtp.health() else { panic!() };
    assert!(since >= before && since < before + chrono::Duration::seconds(3600));
    assert!(reason.contains("refused"));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_after_the_limit_of_the_phase() {
    let short = Duration::from_millis(150);
    let cases = [
        ("CONNECT", SmtpLimits { reply: short, ..limits() }),
        ("EHLO", SmtpLimits { reply: short, ..limits() }),
        ("MAIL", SmtpLimits { reply: short, ..limits() }),
        ("RCPT", SmtpLimits { reply: short, ..limits() }),
        ("DATA", SmtpLimits { data: short, ..limits() }),
        (".", SmtpLimits { accepted: short, ..limits() }),
    ];
    for (verb, limits) in cases {
        let server = answering(verb, || Answer::Hang);
        let smtp = client_of(&format!("smtp://127.0.0.1:{}?tls=none", server.port), limits);
        let error = smtp.send(&mail()).await.unwrap_err();
        assert!(
            matches!(&error, SendError::Temporary(trouble) if trouble.to_string().contains("no answer within 150ms")),
            "{verb} {error:?}"
        );
        assert_eq!(server.wait_for_an_end(), 1, "the connection is closed");
        assert!(matches!(smtp.health(), Health::Failing { .. }));
    }
}

#[tokio::test]
async fn a_server_that_stops_reading_in_the_middle_of_a_message_is_left() {
    let reads_nothing = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = reads_nothing.local_addr().unwrap().port();
    let deaf = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        let (mut socket, _) = reads_nothing.accept().unwrap();
        socket.write_all(b"220 test\r\n").unwrap();
        let mut lines = BufReader::new(socket.try_clone().unwrap());
        for answer in ["250 test\r\n", "250 ok\r\n", "250 ok\r\n", "354 go on\r\n"] {
            lines.read_line(&mut String::new()).unwrap();
            socket.write_all(answer.as_bytes()).unwrap();
        }
        // Only after the client has given up is anything read.
        socket
    });
    let limits = SmtpLimits { data: Duration::from_millis(150), ..limits() };
    let smtp = client_of(&format!("smtp://127.0.0.1:{port}?tls=none"), limits);
    let big = Mail { text: "a line of text\n".repeat(1_000_000), ..mail() };
    let error = smtp.send(&big).await.unwrap_err();
    assert!(
        matches!(&error, SendError::Temporary(trouble) if trouble.to_string().contains("stopped reading")),
        "{error:?}"
    );
    drop(deaf.join().unwrap());
}

#[tokio::test]
async fn a_lost_answer_to_the_final_dot_is_temporary_and_the_repeat_has_the_same_message_id() {
    let server = Server::start(|number, line| if number == 1 && line == "." { Answer::Close } else { Answer::Usual });
    let smtp = client(&server);
    assert!(matches!(smtp.send(&mail()).await, Err(SendError::Temporary(_))));
    smtp.send(&mail()).await.unwrap();
    let ids: Vec<bool> = server
        .messages()
        .iter()
        .map(|message| message.contains("Message-ID: <0198.confirmation@example.com>"))
        .collect();
    assert_eq!(ids, [true, true]);
}

#[tokio::test]
async fn a_dropped_send_takes_its_connection_with_it() {
    let server = Server::start(|number, line| if number == 1 && line == "." { Answer::Hang } else { Answer::Usual });
    let smtp = client(&server);
    let mail = mail();
    {
        let mut sending = std::pin::pin!(smtp.send(&mail));
        while server.verbs().last().is_none_or(|verb| verb != ".") {
            assert!(futures_util::poll!(sending.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(server.wait_for_an_end(), 1);
    smtp.send(&mail).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_answer_that_is_not_utf_8_still_counts() {
    let server = answering("RCPT", || Answer::Bytes(b"550 \xd3\xc3\xbb\xa7 unknown\r\n"));
    let error = error_of(&server).await;
    let SendError::Rejected(trouble) = &error else { panic!("{error:?}") };
    assert_eq!((trouble.code, trouble.said.as_str()), (Some(550), "???? unknown"));
}

#[tokio::test]
async fn what_is_not_smtp_is_temporary_and_short() {
    let cases: [fn() -> Answer; 4] = [
        || Answer::Say("HTTP/1.1 400 Bad Request"),
        || Answer::Bytes(LONG_LINE),
        || Answer::Bytes(b"\r\n"),
        || Answer::Close,
    ];
    for tls in ["none", "required"] {
        for answer in cases {
            let server = answering("CONNECT", answer);
            let limits = SmtpLimits { reply: Duration::from_millis(500), ..limits() };
            let smtp = client_of(&format!("smtp://127.0.0.1:{}?tls={tls}", server.port), limits);
            let error = smtp.send(&mail()).await.unwrap_err();
            let SendError::Temporary(trouble) = &error else { panic!("{error:?}") };
            let text = trouble.to_string();
            assert!(text.chars().count() <= 500 && !text.contains(['\r', '\n']), "{text:?}");
        }
    }
}

#[tokio::test]
async fn a_mail_that_cannot_be_built_never_connects() {
    let server = Server::start(|_, _| Answer::Usual);
    let error = client(&server).send(&Mail { to: "nobody".into(), ..mail() }).await.unwrap_err();
    assert!(matches!(error, SendError::Rejected(Trouble { code: None, .. })));
    assert_eq!(server.connections(), 0);
}
