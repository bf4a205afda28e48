//! One HTTP request for the rest of a file. Proxies come from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`,
//! certificates from `SSL_CERT_FILE` where it is set, else those of Mozilla.
//!
//! Not here: when to ask again.

use crate::{Error, Result};
use std::time::Duration;
use ureq::http::{Response, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(15);
/// Redirects that are followed.
const MOST_REDIRECTS: u32 = 10;

/// A client in which no wait is longer than `stall`.
///
/// # Errors
/// [`Error::Input`] for a file of certificates that can't be read.
pub(super) fn agent(stall: Duration) -> Result<Agent> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        let pem = std::fs::read(&path).map_err(Error::io(&path))?;
        let certificates = parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        tls = tls.root_certs(RootCerts::from(certificates));
    }
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(MOST_REDIRECTS)
        .user_agent(concat!("ecqx/", env!("CARGO_PKG_VERSION")))
        // What is measured and compared are the file's own bytes.
        .accept_encoding("identity")
        .timeout_connect(Some(CONNECT.min(stall)))
        .timeout_recv_response(Some(stall))
        .timeout_per_read(Some(stall))
        .tls_config(tls.build())
        .build();
    Ok(config.new_agent())
}

/// What a server answers.
pub(super) enum Answer {
    /// The bytes from `start` on; `total` is the length of the whole file, where it says so.
    Bytes { start: u64, total: Option<u64>, body: Body },
    /// There is nothing from there on; `total` is the length of the whole file, where it says so.
    Nothing { total: Option<u64> },
    /// Not now, but maybe later: what it said, and how long to wait, where it says so.
    Later { what: String, wait: Option<Duration> },
    /// Not from here.
    Never(String),
}

/// Asks for the bytes of a file from `start` on.
pub(super) fn ask(agent: &Agent, url: &str, start: u64) -> Answer {
    let mut request = agent.get(url);
    if start > 0 {
        request = request.header(header::RANGE, format!("bytes={start}-"));
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(error) => return of_error(&error),
    };
    let status = response.status();
    let number = |name| -> Option<u64> { text(&response, name)?.trim().parse().ok() };
    match status.as_u16() {
        200 => {
            let total = number(header::CONTENT_LENGTH);
            Answer::Bytes { start: 0, total, body: response.into_body() }
        }
        206 => match text(&response, header::CONTENT_RANGE).and_then(range) {
            Some((start, total)) => Answer::Bytes { start, total, body: response.into_body() },
            None => Answer::Never("answers ranges without saying which".into()),
        },
        416 => {
            let total = text(&response, header::CONTENT_RANGE)
                .and_then(|range| range.rsplit('/').next()?.trim().parse().ok());
            Answer::Nothing { total }
        }
        408 | 425 | 429 | 500..=599 => {
            let wait = number(header::RETRY_AFTER).map(Duration::from_secs);
            Answer::Later { what: words(status), wait }
        }
        _ => Answer::Never(words(status)),
    }
}

fn words(status: ureq::http::StatusCode) -> String {
    let reason = status.canonical_reason().map_or(String::new(), |reason| format!(" ({reason})"));
    format!("answers {}{reason}", status.as_u16())
}

fn text(response: &Response<Body>, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// Start and total length in a `Content-Range` such as `bytes 100-199/1000`; the length may be `*`.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

fn of_error(error: &ureq::Error) -> Answer {
    let later = |what: &str| Answer::Later { what: what.into(), wait: None };
    match error {
        ureq::Error::HostNotFound => later("the host is not found"),
        ureq::Error::ConnectionFailed => later("no connection"),
        ureq::Error::Timeout(_) => later("no answer in time"),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            later("the connection is refused")
        }
        // Of a proxy that opens connections to look into them, mostly.
        ureq::Error::Io(error) if error.to_string().contains("certificate") => {
            Answer::Never(format!("{error} (SSL_CERT_FILE names a file of certificates to trust)"))
        }
        ureq::Error::Io(error) => later(&format!("connection lost: {error}")),
        ureq::Error::TooManyRedirects => Answer::Never(format!("redirects more than {MOST_REDIRECTS} times")),
        other => Answer::Never(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges are read with and without the total length; what is none is refused.
    #[test]
    fn content_ranges() {
        assert_eq!(range("bytes 100-199/1000"), Some((100, Some(1000))));
        assert_eq!(range("bytes 0-9/*"), Some((0, None)));
        for wrong in ["", "bytes */10", "100-199/1000", "bytes -5/10"] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }
}
