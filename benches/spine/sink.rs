//! A mail server that takes everything and keeps nothing, at the speed it is told.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

/// Starts it; it ends with the runtime. `pause` is how long the answer to a mail's final dot takes.
pub fn start(servers: &Handle, pause: Duration) -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let connections = servers.clone();
    servers.spawn(async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            connections.spawn(converse(stream, pause));
        }
        #[expect(unreachable_code, reason = "names the type of the errors above")]
        anyhow::Ok(())
    });
    Ok(address)
}

/// The conversation of RFC 5321 as far as a client that makes no mistakes needs it.
async fn converse(stream: TcpStream, pause: Duration) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink ESMTP\r\n").await?;
    let (mut line, mut in_data) = (Vec::new(), false);
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        if in_data {
            if line != b".\r\n" {
                continue;
            }
            in_data = false;
            tokio::time::sleep(pause).await;
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match verb.as_slice() {
            b"EHLO" => b"250-sink\r\n250 8BITMIME\r\n",
            b"DATA" => {
                in_data = true;
                b"354 go on\r\n"
            }
            b"QUIT" => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        stream.write_all(answer).await?;
    }
}

/// An address at which nobody listens: connections are refused.
pub fn nobody() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
