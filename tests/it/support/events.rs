//! A stream of server-sent events (HTML standard, section 9.2), as a page hears it.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::app::HttpClient;

/// How long an event may take that is waited for.
const LIMIT: Duration = Duration::from_secs(50);

/// An open stream.
pub struct Events {
    response: Response,
    arrived: String,
}

impl Events {
    /// Opens the stream of a page of this client; the status where there is none.
    pub async fn open(client: &HttpClient, path: &str) -> Result<Self, u16> {
        Self::of(client.http.get(format!("{}{path}", client.url))).await
    }

    /// Opens the stream that a request asks for.
    pub async fn of(request: RequestBuilder) -> Result<Self, u16> {
        let response = request.header("accept", "text/event-stream").send().await.unwrap();
        if response.status() != 200 {
            return Err(response.status().as_u16());
        }
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "text/event-stream");
        assert_eq!((header("cache-control").as_str(), header("x-accel-buffering").as_str()), ("no-store", "no"));
        Ok(Self { response, arrived: String::new() })
    }

    /// The next event, its name and its data; none at the end of the stream. Comments are passed over.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((block, rest)) = self.arrived.split_once("\n\n") {
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let event = field("event: ").map(|name| (name, field("data: ").unwrap()));
                let rest = rest.len();
                self.arrived.drain(..self.arrived.len() - rest);
                if let Some((name, data)) = event {
                    return Some((name, serde_json::from_str(&data).unwrap()));
                }
            }
            let chunk = tokio::time::timeout(LIMIT, self.response.chunk()).await.expect("an event in time");
            self.arrived += std::str::from_utf8(&chunk.unwrap()?).unwrap();
        }
    }

    /// Waits for a `status` of this state; the states before it are returned with it.
    pub async fn until(&mut self, state: &str) -> Vec<Value> {
        let mut told = Vec::new();
        loop {
            let (name, data) = self.next().await.unwrap_or_else(|| panic!("{state} is told: {told:?}"));
            assert_eq!(name, "status");
            let is_there = data["state"] == state;
            told.push(data);
            if is_there {
                return told;
            }
        }
    }
}
