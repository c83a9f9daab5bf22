//! The settings in `BELLHOP_SMTP_URL`.

use std::fmt;
use std::path::Path;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use url::{Host, Url};

/// How a connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (`smtps://`, RFC 8314 section 3.3).
    Implicit,
    /// STARTTLS (RFC 3207); a server that does not offer it gets nothing.
    Required,
    /// STARTTLS where it is offered, and then verified like any other; plain text otherwise, but no password in it.
    Opportunistic,
    /// Never; for a relay on the same machine or network.
    None,
}

/// Where mails are handed over, and as whom.
#[derive(Clone)]
pub struct SmtpSettings {
    /// Host name or IP address without brackets; the certificate must be for it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User and password, both or neither.
    pub login: Option<Login>,
    /// Protection of the connection.
    pub tls: Tls,
    /// The name in EHLO: a host name of ours, `[127.0.0.1]` if there is none (RFC 5321 section 4.1.4).
    pub hello_name: String,
    /// Certificates of authorities that are believed beside the usual ones.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// A name and the password that goes with it.
#[derive(Clone)]
pub struct Login {
    /// The user, as the server knows it.
    pub user: String,
    /// Its password; printed by nothing.
    pub password: SecretString,
}

/// Why an SMTP URL is refused: one line that never repeats the URL, because a password stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL.
    #[error("not a URL (reserved characters in the password must be percent-encoded)")]
    Malformed,
    /// Another scheme.
    #[error("the scheme must be smtp or smtps")]
    Scheme,
    /// No host.
    #[error("the host is missing")]
    Host,
    /// Port 0.
    #[error("the port must not be 0")]
    Port,
    /// A user without a password or the other way round.
    #[error("user and password must be given together")]
    Login,
    /// Percent-encoding that is not UTF-8, or a control character in user or password.
    #[error("user and password must be UTF-8 without control characters, percent-encoded")]
    LoginText,
    /// A path or fragment, which mean nothing here.
    #[error("nothing may follow the port but ?tls=; a # or / in the password must be percent-encoded")]
    Trailing,
    /// A parameter that does not exist, or `tls` twice.
    #[error("the only parameter is tls, once")]
    Parameter,
    /// A value of `tls` that does not exist.
    #[error("tls must be required, opportunistic or none")]
    TlsValue,
    /// `smtps` with a `tls` other than `required`.
    #[error("smtps is always encrypted: leave ?tls= out or use smtp://")]
    Contradiction,
}

impl SmtpSettings {
    /// Reads `smtp://user:password@host:port` or `smtps://…`, with `?tls=required|opportunistic|none`.
    ///
    /// `smtp` is `required` unless it says otherwise, and its port 587; `smtps` is implicit TLS, and its port 465; with
    /// `tls=none` the port is 25.
    ///
    /// # Errors
    ///
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url = Url::parse(text.trim()).map_err(|error| match error {
            url::ParseError::EmptyHost => UrlError::Host,
            _ => UrlError::Malformed,
        })?;
        let implicit = match url.scheme() {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(UrlError::Scheme),
        };
        let host = host(&url)?;
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(UrlError::Trailing);
        }
        let tls = match (implicit, tls_parameter(&url)?) {
            (true, None | Some(Tls::Required)) => Tls::Implicit,
            (true, Some(_)) => return Err(UrlError::Contradiction),
            (false, given) => given.unwrap_or(Tls::Required),
        };
        let usual_port = match tls {
            Tls::Implicit => 465,
            Tls::Required | Tls::Opportunistic => 587,
            Tls::None => 25,
        };
        let port = url.port().unwrap_or(usual_port);
        if port == 0 {
            return Err(UrlError::Port);
        }
        let login = match (url.username(), url.password().filter(|password| !password.is_empty())) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => return Err(UrlError::Login),
            (user, Some(password)) => {
                Some(Login { user: percent_decoded(user)?, password: percent_decoded(password)?.into() })
            }
        };
        Ok(Self { host, port, login, tls, hello_name: "[127.0.0.1]".to_owned(), authorities: Vec::new() })
    }
}

/// The certificates in a PEM file, of which there is one at least.
///
/// # Errors
///
/// One line: the file cannot be read, or holds no certificate or a malformed one.
pub fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|_| "not a PEM file".to_owned())?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|_| "a certificate in it is malformed".to_owned())?;
    }
    if certificates.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(certificates) }
}

impl fmt::Display for SmtpSettings {
    /// For start-up lines: where to and how protected, nothing that is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, how) = match self.tls {
            Tls::Implicit => ("smtps", "TLS"),
            Tls::Required => ("smtp", "STARTTLS required"),
            Tls::Opportunistic => ("smtp", "STARTTLS if offered"),
            Tls::None => ("smtp", "not encrypted"),
        };
        let login = if self.login.is_some() { "with login" } else { "without login" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{} ({how}, {login})", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{} ({how}, {login})", self.host, self.port)
        }
    }
}

impl fmt::Debug for SmtpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The host as resolver and certificate want it: lower case, no brackets. The URL standard leaves hosts of unknown
/// schemes unparsed, so IPv4 addresses arrive as names, which both understand.
fn host(url: &Url) -> Result<String, UrlError> {
    match url.host().ok_or(UrlError::Host)? {
        Host::Domain("") => Err(UrlError::Host),
        Host::Domain(name) => {
            idna::domain_to_ascii(&percent_decoded(name).map_err(|_| UrlError::Host)?).map_err(|_| UrlError::Host)
        }
        Host::Ipv4(address) => Ok(address.to_string()),
        Host::Ipv6(address) => Ok(address.to_string()),
    }
}

fn tls_parameter(url: &Url) -> Result<Option<Tls>, UrlError> {
    let mut tls = None;
    for (name, value) in url.query_pairs() {
        if name != "tls" || tls.is_some() {
            return Err(UrlError::Parameter);
        }
        tls = Some(match &*value {
            "required" => Tls::Required,
            "opportunistic" => Tls::Opportunistic,
            "none" => Tls::None,
            _ => return Err(UrlError::TlsValue),
        });
    }
    Ok(tls)
}

/// Undoes percent-encoding, and it alone: a `+` in a password is a plus.
fn percent_decoded(text: &str) -> Result<String, UrlError> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| UrlError::LoginText)?;
    if decoded.chars().any(char::is_control) { Err(UrlError::LoginText) } else { Ok(decoded.into_owned()) }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(text: &str) -> SmtpSettings {
        SmtpSettings::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn smtp_requires_starttls_and_smtps_is_encrypted_from_the_start() {
        let cases = [
            ("smtp://mail.example.org", Tls::Required, 587),
            ("smtp://mail.example.org:2525", Tls::Required, 2525),
            ("smtp://mail.example.org?tls=required", Tls::Required, 587),
            ("smtp://mail.example.org/?tls=opportunistic", Tls::Opportunistic, 587),
            ("smtp://127.0.0.1:1025?tls=none", Tls::None, 1025),
            ("smtp://relay?tls=none", Tls::None, 25),
            ("smtps://mail.example.org", Tls::Implicit, 465),
            ("smtps://mail.example.org?tls=required", Tls::Implicit, 465),
        ];
        for (text, tls, port) in cases {
            let settings = read(text);
            assert_eq!((settings.tls, settings.port), (tls, port), "{text}");
            assert!(settings.login.is_none());
        }
    }

    #[test]
    fn hosts_come_without_brackets_in_lower_case_and_as_a_labels() {
        assert_eq!(read("smtp://MAIL.Example.org").host, "mail.example.org");
        assert_eq!(read("smtp://[::1]:25").host, "::1");
        assert_eq!(read("smtp://127.0.0.1:25").host, "127.0.0.1");
        assert_eq!(read("smtp://münchen.example").host, "xn--mnchen-3ya.example");
    }

    #[test]
    fn a_login_is_percent_decoded_and_never_shown() {
        let settings = read("smtp://ada%40example.org:p%40ss%2F+w%C3%B6rd@mail.example.org:587");
        let shown = format!("{settings} {settings:?}");
        let login = settings.login.unwrap();
        assert_eq!(login.user, "ada@example.org");
        assert_eq!(login.password.expose_secret(), "p@ss/+wörd");
        assert!(!shown.contains("ss"), "{shown}");
        assert!(shown.starts_with("smtp://mail.example.org:587 (STARTTLS required, with login)"));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line_without_the_password() {
        let cases = [
            ("mail.example.org", UrlError::Malformed),
            ("mail.example.org:587", UrlError::Scheme),
            ("http://u:hunter2@mail", UrlError::Scheme),
            ("smtp://", UrlError::Host),
            ("smtp:mail", UrlError::Host),
            ("smtp://u:hunter2@", UrlError::Host),
            ("smtp://u:hunter2@mail:0", UrlError::Port),
            ("smtp://u:hunter2@mail:99999", UrlError::Malformed),
            ("smtp://u@mail", UrlError::Login),
            ("smtp://:hunter2@mail", UrlError::Login),
            ("smtp://u:hunter2%0d%0a@mail", UrlError::LoginText),
            ("smtp://u:hunter2%ff@mail", UrlError::LoginText),
            ("smtp://u:hunter2@mail/x", UrlError::Trailing),
            ("smtp://u:hunter2@mail#x", UrlError::Trailing),
            ("smtp://u:hunter2@mail?ssl=1", UrlError::Parameter),
            ("smtp://u:hunter2@mail?tls=none&tls=required", UrlError::Parameter),
            ("smtp://u:hunter2@mail?tls=maybe", UrlError::TlsValue),
            ("smtps://u:hunter2@mail?tls=none", UrlError::Contradiction),
        ];
        for (text, expected) in cases {
            let error = SmtpSettings::parse(text).expect_err(text);
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("hunter2") && !error.to_string().contains('\n'));
        }
    }
}
