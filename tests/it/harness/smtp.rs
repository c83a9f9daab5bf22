//! The scripted mail server.

use std::time::{Duration, Instant};

use lettre::message::{Mailbox, MultiPart};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::smtp::{Phase, Script, Sink, Step};

type Transport = AsyncSmtpTransport<Tokio1Executor>;

fn transport(sink: &Sink) -> Transport {
    Transport::builder_dangerous("127.0.0.1").port(sink.address().port()).build()
}

fn mailbox(address: &str) -> Mailbox {
    address.parse().expect("an address")
}

fn mail(body: &str) -> Message {
    Message::builder()
        .from(mailbox("front@desk.test"))
        .to(mailbox("guest@hotel.test"))
        .subject("Room")
        .body(body.to_owned())
        .expect("a mail")
}

/// Sends commands at once, reads until the server ends the connection.
async fn pipelined(sink: &Sink, commands: &str) -> String {
    let mut stream = TcpStream::connect(sink.address()).await.expect("the sink listens");
    stream.write_all(commands.as_bytes()).await.expect("the sink reads");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.expect("the sink answers");
    answers
}

#[tokio::test]
async fn a_mail_with_leading_dots_arrives_as_it_was_sent() {
    let sink = Sink::start().await;
    transport(&sink).send(mail(".\r\n..two\r\nend.\r\n.")).await.expect("the sink takes it");

    let [mail] = &sink.wait_for(1).await[..] else { panic!("one mail: {:?}", sink.mails()) };
    assert_eq!(mail.from, "front@desk.test");
    assert_eq!(mail.recipients, ["guest@hotel.test"]);
    let raw = String::from_utf8(mail.raw.clone()).expect("ASCII");
    let (header, body) = raw.split_once("\r\n\r\n").expect("a header and a body");
    assert!(header.contains("Subject: Room"), "{header}");
    assert_eq!(body.trim_end(), ".\r\n..two\r\nend.\r\n.");
    assert_eq!(mail.header("Subject").as_deref(), Some("Room"));
}

#[tokio::test]
async fn a_mail_is_decoded_as_a_reader_sees_it() {
    let sink = Sink::start().await;
    let link = format!("https://hotel.test/confirm?token={}", "t".repeat(120));
    let message = Message::builder()
        .from(mailbox("front@desk.test"))
        .to(mailbox("guest@hotel.test"))
        .message_id(Some("<stable@desk.test>".to_owned()))
        .subject("请确认")
        .multipart(MultiPart::alternative_plain_html(
            format!("您好，\r\n\r\n{link}\r\n"),
            format!("<p>您好</p><a href=\"{link}\">确认</a>"),
        ))
        .expect("a mail");
    transport(&sink).send(message).await.expect("the sink takes it");

    let mails = sink.wait_for(1).await;
    let mail = mails.first().expect("one mail");
    assert!(!mail.raw.windows(link.len()).any(|window| window == link.as_bytes()), "the link is encoded on the wire");
    assert_eq!(mail.message_id(), "stable@desk.test");
    let parsed = mail.parsed();
    assert_eq!(parsed.subject, "请确认");
    assert!(parsed.text.starts_with("您好，"), "{parsed:?}");
    assert!(parsed.html.contains(&format!("<a href=\"{link}\">确认</a>")), "{parsed:?}");
    assert_eq!(parsed.link(), link);
}

#[tokio::test]
async fn only_the_refused_recipient_misses_the_mail_when_commands_are_pipelined() {
    let sink = Sink::start().await;
    sink.set(Script::default().on_recipient("gone@hotel.test", Step::reply("550 5.1.1 no such guest")));

    let answers = pipelined(
        &sink,
        "EHLO a.test\r\nMAIL FROM:<a@a.test> BODY=8BITMIME\r\nRCPT TO:<gone@hotel.test>\r\nRCPT TO:<here@hotel.test>\r\n\
         DATA\r\nSubject: x\r\n\r\n..\r\n.\r\nRSET\r\nNOOP\r\nMAIL FROM:<>\r\nRCPT TO:<gone@hotel.test>\r\nDATA\r\nQUIT\r\n",
    )
    .await;

    let codes: Vec<&str> = answers.lines().filter(|line| line.get(3..4) == Some(" ")).map(|line| &line[..3]).collect();
    let expected = ["220", "250", "250", "550", "250", "354", "250", "250", "250", "250", "550", "503", "221"];
    assert_eq!(codes, expected, "{answers}");
    let mails = sink.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].recipients, ["here@hotel.test"]);
    assert_eq!(mails[0].raw, b"Subject: x\r\n\r\n.\r\n");
    assert_eq!(sink.attempts(), 2);
}

#[tokio::test]
async fn a_step_holds_as_often_as_it_says() {
    for phase in [Phase::Banner, Phase::Ehlo, Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Dot] {
        let sink = Sink::start().await;
        sink.set(Script::default().on(phase, Step::reply("451 4.3.0 later").times(2)));
        for _ in 0..2 {
            let error = transport(&sink).send(mail("hello")).await.expect_err("told to come later");
            assert!(error.is_transient(), "{phase:?}: {error:?}");
            assert_eq!(sink.mails().len(), 0, "{phase:?}");
        }
        transport(&sink).send(mail("hello")).await.unwrap_or_else(|error| panic!("{phase:?}: {error}"));
        assert_eq!(sink.mails().len(), 1, "{phase:?}");
        assert!(sink.connections() >= 3, "{phase:?}: {}", sink.connections());
        assert_eq!(sink.mails()[0].connection, sink.connections(), "{phase:?}");
    }
}

#[tokio::test]
async fn a_mail_can_be_taken_while_its_sender_learns_nothing() {
    let sink = Sink::start().await;
    sink.set(Script::default().on(Phase::Dot, Step::drop().keeping_the_mail()));
    transport(&sink).send(mail("hello")).await.expect_err("no answer comes");
    assert_eq!(sink.mails().len(), 1);

    sink.set(Script::default().on(Phase::Dot, Step::drop()));
    transport(&sink).send(mail("hello")).await.expect_err("no answer comes");
    assert_eq!(sink.mails().len(), 1, "this one is not taken");
}

#[tokio::test]
async fn a_delayed_answer_is_the_usual_one_later() {
    let sink = Sink::start().await;
    let delay = Duration::from_millis(80);
    sink.set(Script::default().on(Phase::Mail, Step::delay(delay)));
    let before = Instant::now();
    transport(&sink).send(mail("hello")).await.expect("the sink takes it");
    assert!(before.elapsed() >= delay, "{:?}", before.elapsed());
    assert!(sink.mails()[0].at >= before + delay);
}

#[tokio::test]
async fn a_server_that_hangs_says_nothing_until_it_is_stopped() {
    let mut sink = Sink::start().await;
    sink.set(Script::default().on(Phase::Mail, Step::hang()));
    let address = sink.address();
    let sending = tokio::spawn({
        let transport = transport(&sink);
        async move { transport.send(mail("hello")).await }
    });
    sink.wait_for_attempts(1).await;
    assert!(!sending.is_finished());

    sink.stop().await;
    sending.await.expect("no panic").expect_err("the connection ended");
    TcpStream::connect(address).await.expect_err("nobody listens");

    sink.set(Script::default());
    sink.restart().await;
    assert_eq!(sink.address(), address);
    assert_eq!(sink.url(), format!("smtp://{address}?tls=none"));
    transport(&sink).send(mail("hello")).await.expect("the sink takes it");
    assert_eq!((sink.attempts(), sink.mails().len()), (2, 1));
}

#[tokio::test]
async fn starttls_is_offered_and_refused_on_demand() {
    let sink = Sink::start().await;
    let commands = "EHLO a.test\r\nSTARTTLS\r\nQUIT\r\n";
    let plain = pipelined(&sink, commands).await;
    assert!(!plain.contains("250-STARTTLS") && plain.contains("\r\n502 "), "{plain}");

    sink.set(Script::default().advertise_starttls());
    let refused = pipelined(&sink, commands).await;
    assert!(refused.contains("\r\n250-STARTTLS\r\n") && refused.contains("\r\n454 4.7.0 "), "{refused}");
}
