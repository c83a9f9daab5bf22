//! Variables that are none of ours, though they begin as ours do: Kubernetes sets some in every pod for each service of its
//! namespace, and container links for each other container. A service named `bellhop` or `bellhop-web` makes
//! `BELLHOP_SERVICE_HOST` and `BELLHOP_WEB_PORT_8080_TCP` of them.

/// Whether a variable, named without the prefix, is one of those.
pub(super) fn is_one(name: &str, value: &str) -> bool {
    let named = |end: &str| name == end || name.ends_with(&format!("_{end}"));
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    named("SERVICE_HOST")
        || named("SERVICE_PORT")
        // a port of the service that has a name
        || (after(name, "SERVICE_PORT").is_some() && value.parse::<u16>().is_ok())
        || (named("PORT") && is_url)
        || after(name, "PORT").is_some_and(is_port)
        // a link: the container's own name, and what its environment holds
        || (named("NAME") && value.starts_with('/'))
        || name.starts_with("ENV_")
}

/// What stands behind `part` and an underscore, where `part` is a part of the name.
fn after<'n>(name: &'n str, part: &str) -> Option<&'n str> {
    let (before, rest) = name.split_once(&format!("{part}_"))?;
    (before.is_empty() || before.ends_with('_')).then_some(rest)
}

/// `8080_TCP`, or that with `_ADDR`, `_PORT`, `_PROTO` or `_START` and `_END` of a range behind it.
fn is_port(rest: &str) -> bool {
    let mut parts = rest.split('_');
    let number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
    let protocol = matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"));
    number && protocol && parts.all(|part| matches!(part, "ADDR" | "PORT" | "PROTO" | "START" | "END"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F1: each of these was "there is no such setting".
    #[test]
    fn what_clusters_and_links_set_is_known_and_a_typo_is_not() {
        for (name, value) in [
            ("PORT", "tcp://10.0.0.7:8080"),
            ("SERVICE_HOST", "10.0.0.7"),
            ("SERVICE_PORT", "8080"),
            ("SERVICE_PORT_HTTP", "8080"),
            ("PORT_8080_TCP", "tcp://10.0.0.7:8080"),
            ("PORT_8080_TCP_ADDR", "10.0.0.7"),
            ("PORT_8080_TCP_PORT", "8080"),
            ("PORT_8080_TCP_PROTO", "tcp"),
            ("WEB_SERVICE_HOST", "10.0.0.7"),
            ("WEB_SERVICE_PORT_METRICS", "9000"),
            ("WEB_PORT", "udp://10.0.0.7:53"),
            ("WEB_PORT_53_UDP_ADDR", "10.0.0.7"),
            ("NAME", "/site/bellhop"),
            ("ENV_PATH", "/bin"),
        ] {
            assert!(is_one(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("SMPT_URL", "smtp://localhost"),
            ("PORT", "8080"),
            ("LISTEN_PORT", "8080"),
            ("SERVICE_PORTS", "8080"),
            ("PORT_8080", "8080"),
            ("SITE_NAME", "Example"),
            ("DATABASE_URL", "postgres://localhost"),
        ] {
            assert!(!is_one(name, value), "{name}={value}");
        }
    }
}
