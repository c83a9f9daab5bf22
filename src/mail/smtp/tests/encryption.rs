use rcgen::{CertificateParams, CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::*;

struct Identity {
    certificate: CertificateDer<'static>,
    server: Arc<ServerConfig>,
}

fn identity(certificate: CertificateDer<'static>, key: &KeyPair) -> Identity {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    Identity { certificate, server: Arc::new(server) }
}

fn certificate_for(name: &str) -> Identity {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    identity(cert.der().clone(), &signing_key)
}

fn expired_certificate_for(name: &str) -> Identity {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    identity(certificate.der().clone(), &key)
}

fn trusting(url: &str, identity: &Identity) -> Smtp {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate.clone()).unwrap();
    Smtp { tls: starttls::tls_config_with(roots).unwrap(), ..client_of(url, limits()) }
}

/// Sends, expects a temporary error, and that the server heard nothing of the mail or the password in clear.
async fn is_refused(smtp: Smtp, server: &Server) -> String {
    let error = smtp.send(&mail()).await.unwrap_err();
    let SendError::Temporary(trouble) = error else { panic!("{error:?}") };
    for verb in ["AUTH", "MAIL", "RCPT", "DATA"] {
        assert!(!server.verbs().contains(&verb.to_owned()), "{verb} was sent");
    }
    assert!(server.messages().is_empty());
    trouble.to_string()
}

#[tokio::test]
async fn mails_go_encrypted_by_starttls_and_from_the_start_and_connections_are_shared() {
    for (scheme, implicit, verbs) in [
        ("smtp", false, vec!["CONNECT", "EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."]),
        ("smtps", true, vec!["CONNECT", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."]),
    ] {
        for host in ["localhost", "127.0.0.1"] {
            let identity = certificate_for(host);
            let server = Server::with_tls(Some(identity.server.clone()), implicit, |_, _| Answer::Usual);
            let smtp = trusting(&format!("{scheme}://ada:hunter2@{host}:{}", server.port), &identity);
            smtp.send(&mail()).await.unwrap();
            assert_eq!(server.verbs(), verbs);
            smtp.send(&mail()).await.unwrap();
            assert_eq!(server.connections(), 1);
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_offer_starttls_gets_nothing_where_it_is_required() {
    for login in ["", "ada:hunter2@"] {
        let server = Server::start(|_, _| Answer::Usual);
        let smtp = client_of(&format!("smtp://{login}127.0.0.1:{}", server.port), limits());
        let text = is_refused(smtp, &server).await;
        assert_eq!(text, "the server does not offer STARTTLS, which is required");
    }
}

#[tokio::test]
async fn a_refused_starttls_is_not_followed_by_plain_text() {
    let identity = certificate_for("127.0.0.1");
    for tls in ["required", "opportunistic"] {
        let server = Server::with_tls(Some(identity.server.clone()), false, |_, line| {
            if line == "STARTTLS" { Answer::Say("454 4.7.0 not now") } else { Answer::Usual }
        });
        is_refused(trusting(&format!("smtp://127.0.0.1:{}?tls={tls}", server.port), &identity), &server).await;
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_of_an_unknown_issuer_or_of_the_past_is_refused() {
    for (scheme, implicit) in [("smtp", false), ("smtps", true)] {
        let wrong_host = certificate_for("elsewhere.example");
        let server = Server::with_tls(Some(wrong_host.server.clone()), implicit, |_, _| Answer::Usual);
        let url = format!("{scheme}://ada:hunter2@localhost:{}", server.port);
        let text = is_refused(trusting(&url, &wrong_host), &server).await;
        assert!(text.contains("not valid for name"), "{text}");

        let right_host = certificate_for("localhost");
        let server = Server::with_tls(Some(right_host.server.clone()), implicit, |_, _| Answer::Usual);
        let url = format!("{scheme}://ada:hunter2@localhost:{}", server.port);
        let text = is_refused(client_of(&url, limits()), &server).await;
        assert!(text.contains("UnknownIssuer"), "{text}");

        let expired = expired_certificate_for("localhost");
        let server = Server::with_tls(Some(expired.server.clone()), implicit, |_, _| Answer::Usual);
        let url = format!("{scheme}://ada:hunter2@localhost:{}", server.port);
        let text = is_refused(trusting(&url, &expired), &server).await;
        assert!(text.contains("expired"), "{text}");
    }
}

/// F52.
#[tokio::test]
async fn an_authority_of_ones_own_is_believed_beside_the_usual_ones() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let identity = identity(cert.der().clone(), &signing_key);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    for (scheme, implicit) in [("smtp", false), ("smtps", true)] {
        let server = Server::with_tls(Some(identity.server.clone()), implicit, |_, _| Answer::Usual);
        let mut settings = SmtpSettings::parse(&format!("{scheme}://localhost:{}", server.port)).unwrap();
        std::fs::write(&path, pem(cert.der()) + &pem(&certificate_for("other.example").certificate)).unwrap();
        settings.authorities = read_authorities(&path).unwrap();
        assert_eq!(settings.authorities.len(), 2);
        let sender = Sender::parse("a@b.example").unwrap();
        let smtp = Smtp::new(settings, sender, Clock::default(), limits()).unwrap();
        smtp.send(&mail()).await.unwrap();
    }
    for wrong in ["", "no PEM", &pem(&CertificateDer::from(vec![0; 3]))] {
        std::fs::write(&path, wrong).unwrap();
        assert!(read_authorities(&path).is_err(), "{wrong:?}");
    }
    assert!(read_authorities(&folder.path().join("nowhere")).is_err());
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let mark = |what: &str| format!("-----{what} CERTIFICATE-----\n");
    format!("{}{}\n{}", mark("BEGIN"), STANDARD.encode(certificate), mark("END"))
}

#[tokio::test]
async fn an_answer_smuggled_in_before_the_handshake_is_not_believed() {
    let identity = certificate_for("127.0.0.1");
    let server = Server::with_tls(Some(identity.server.clone()), false, |_, line| {
        if line == "STARTTLS" { Answer::Bytes(b"220 go on\r\n250-evil\r\n250 AUTH PLAIN\r\n") } else { Answer::Usual }
    });
    let smtp = trusting(&format!("smtp://ada:hunter2@127.0.0.1:{}", server.port), &identity);
    let text = is_refused(smtp, &server).await;
    assert!(text.starts_with("TLS:"), "{text}");
}

#[tokio::test]
async fn a_handshake_that_stalls_ends() {
    let server = Server::start(|_, line| match line {
        "STARTTLS" => Answer::Bytes(b"220 go on\r\n"),
        line if line.starts_with("EHLO") => Answer::Say("250-test\r\n250 starttls"),
        _ => Answer::Usual,
    });
    let limits = SmtpLimits { reply: Duration::from_millis(150), ..limits() };
    let smtp = client_of(&format!("smtp://127.0.0.1:{}", server.port), limits);
    let text = is_refused(smtp, &server).await;
    assert_eq!(text, "TLS: no answer within 150ms");
}

#[tokio::test]
async fn opportunistic_uses_what_is_offered_but_sends_no_password_in_clear() {
    let identity = certificate_for("127.0.0.1");
    let server = Server::with_tls(Some(identity.server.clone()), false, |_, _| Answer::Usual);
    let smtp = trusting(&format!("smtp://ada:hunter2@127.0.0.1:{}?tls=opportunistic", server.port), &identity);
    smtp.send(&mail()).await.unwrap();
    assert!(server.verbs().contains(&"STARTTLS".to_owned()));

    let server = Server::start(|_, _| Answer::Usual);
    let smtp = client_of(&format!("smtp://127.0.0.1:{}?tls=opportunistic", server.port), limits());
    smtp.send(&mail()).await.unwrap();
    assert_eq!(server.messages().len(), 1);

    let server = Server::start(|_, _| Answer::Usual);
    let smtp = client_of(&format!("smtp://ada:hunter2@127.0.0.1:{}?tls=opportunistic", server.port), limits());
    is_refused(smtp, &server).await;
}
