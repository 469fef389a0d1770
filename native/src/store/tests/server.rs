//! A small HTTP server that misbehaves on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path with its query.
    pub path: String,
    /// Headers by lower-case name.
    pub headers: HashMap<String, String>,
}

impl Request {
    /// The header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The first byte that the Range header asks for.
    pub fn start(&self) -> Option<usize> {
        self.header("range").strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What the server sends back.
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
    stall: Option<Arc<Gate>>,
    chunked: bool,
}

impl Answer {
    /// An answer with this status and body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Answer { status, headers: Vec::new(), body: body.into(), cut: None, stall: None, chunked: false }
    }

    /// Adds a header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends only so many bytes of the body, then closes the connection.
    pub fn cut_at(mut self, count: usize) -> Self {
        self.cut = Some(count);
        self
    }

    /// Sends so many bytes of the body, and the others when the gate opens.
    pub fn stall_at(mut self, count: usize, gate: &Arc<Gate>) -> Self {
        self.cut = Some(count);
        self.stall = Some(gate.clone());
        self
    }

    /// Does not say beforehand how long the body is.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    fn send(self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", self.status);
        self.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        let length = self.body.len();
        head += &if self.chunked {
            "transfer-encoding: chunked\r\n\r\n".into()
        } else {
            format!("content-length: {length}\r\n\r\n")
        };
        stream.write_all(head.as_bytes())?;
        let (first, rest) = self.body.split_at(self.cut.unwrap_or(length));
        let chunk = |bytes: &[u8]| match self.chunked {
            true => [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat(),
            false => bytes.to_vec(),
        };
        stream.write_all(&chunk(first))?;
        if let Some(gate) = &self.stall {
            gate.wait();
            stream.write_all(&chunk(rest))?;
        }
        if self.chunked && (self.cut.is_none() || self.stall.is_some()) {
            stream.write_all(b"0\r\n\r\n")?;
        }
        stream.flush()
    }
}

/// Something to wait for. It opens by itself after a while, so that a failing test ends.
#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    pub fn wait(&self) {
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_timeout_while(open, Duration::from_secs(20), |open| !*open).unwrap());
    }
}

/// The server; it ends when dropped.
pub struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves what `answer` says to a request and the number of requests before it.
    pub fn start(answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, stopped, answer) = (seen.clone(), stop.clone(), Arc::new(answer));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (log, answer) = (log.clone(), answer.clone());
                thread::spawn(move || serve(stream, &log, &*answer));
            }
        });
        Server { address, seen, stop, thread: Some(thread) }
    }

    /// Serves one file, with ranges, as a good server does.
    pub fn with_file(content: Vec<u8>) -> Server {
        Server::start(move |request, _| file(request, &content, "\"one\""))
    }

    /// The address of a path on this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was asked for so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.thread.take().into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// The answer of a good server for a file with this ETag.
pub fn file(request: &Request, content: &[u8], etag: &str) -> Answer {
    let is_same = ["", etag].contains(&request.header("if-range"));
    let total = content.len();
    match request.start().filter(|_| is_same) {
        Some(start) if start >= total => Answer::new(416, "").with("content-range", format!("bytes */{total}")),
        Some(start) => Answer::new(206, &content[start..])
            .with("content-range", format!("bytes {start}-{}/{total}", total - 1))
            .with("etag", etag),
        None => Answer::new(200, content).with("etag", etag),
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request, usize) -> Answer) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let Some(request) = read(&stream) else { return };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        log.len() - 1
    };
    // A client that has gone away is part of the game.
    answer(&request, number).send(&mut stream).ok();
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let header = |line: String| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(header).collect();
    Some(Request { path, headers })
}
