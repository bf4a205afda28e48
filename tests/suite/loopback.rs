//! A server on this machine that answers as badly as a test asks it to.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What a client asks for.
pub struct Request {
    /// Which request of the server's life this is, from 0.
    pub number: usize,
    /// Method and target, such as `GET /a.tar`.
    pub line: String,
    /// First byte of the range that is asked for.
    pub range: Option<usize>,
}

type Answer = dyn Fn(&Request, &mut TcpStream) -> std::io::Result<()> + Send + Sync;

/// Listens until it is dropped.
pub struct Server {
    pub address: String,
    log: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

impl Server {
    /// Answers every request with `answer`, then closes the connection.
    pub fn new(
        answer: impl Fn(&Request, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (log, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let answer: Arc<Answer> = Arc::new(answer);
        let count = Arc::new(AtomicUsize::new(0));
        let (its_log, its_over) = (log.clone(), over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if its_over.load(Ordering::Relaxed) {
                    return;
                }
                let (answer, log, count) = (answer.clone(), its_log.clone(), count.clone());
                let mut stream = stream.unwrap();
                // A client that hangs up is part of the game.
                std::thread::spawn(move || {
                    let Some(mut request) = read(&stream) else { return };
                    request.number = count.fetch_add(1, Ordering::Relaxed);
                    let from = request.range.map_or(String::new(), |from| format!(" from {from}"));
                    log.lock().unwrap().push(format!("{}{from}", request.line));
                    let _ = answer(&request, &mut stream);
                });
            }
        });
        Self { address, log, over }
    }

    /// The address of a file.
    pub fn url(&self, file: &str) -> String {
        format!("http://{}/{file}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(&self.address);
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let line = lines.next()?.ok()?;
    let mut range = None;
    for line in lines {
        let line = line.ok()?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("range: bytes=") {
            range = bytes.trim_end_matches('-').parse().ok();
        }
    }
    Some(Request { number: 0, line: line.rsplit_once(' ')?.0.to_owned(), range })
}

/// A status without a body; `header` ends with a line end or is empty.
pub fn status(stream: &mut TcpStream, status: &str, header: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

/// The whole file with status 200, whatever range was asked for; only `sent` bytes of it are sent.
pub fn whole(stream: &mut TcpStream, content: &[u8], sent: usize) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len())?;
    stream.write_all(&content[..sent.min(content.len())])
}

/// The file from the range's start on, as a good server does; at most `most` bytes of it are sent.
pub fn ranged(stream: &mut TcpStream, request: &Request, content: &[u8], most: usize) -> std::io::Result<()> {
    let Some(start) = request.range else { return whole(stream, content, most) };
    let length = content.len();
    if start >= length {
        return status(stream, "416 Range Not Satisfiable", &format!("Content-Range: bytes */{length}\r\n"));
    }
    let rest = &content[start..];
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{length}\r\nConnection: \
         close\r\n\r\n",
        rest.len(),
        length - 1
    )?;
    stream.write_all(&rest[..most.min(rest.len())])
}
