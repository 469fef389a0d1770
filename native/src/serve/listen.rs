//! Connections: who may open one, how long it may do nothing, and how all of them end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tracing::{debug, info, warn};

use crate::error::{Error, Result};

/// How long a client may take to send the head of a request, and how long a connection may wait for the next one.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// How long a client may accept nothing of an answer.
const WRITE_TIME: Duration = Duration::from_secs(60);
/// The largest head.
const HEAD_BYTES: usize = 64 << 10;
/// How long to wait when the system has no more connections to give.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks the system for as many open files as it allows: a connection is one.
pub fn raise_file_limit() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        // Without it, fewer connections fit at the same time.
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).ok();
    }
}

/// The sockets that are listened at.
pub async fn bind(hosts: &[IpAddr], mut port: u16) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for host in hosts {
        let address = SocketAddr::new(*host, port);
        let failed = |cause| Error::io(format!("listen at {address}"), cause);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        // With any port, further addresses get the same one.
        port = listener.local_addr().map_err(failed)?.port();
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Answers until `stop` says so; then finishes what is under way within `grace`, and says what is left of that time.
pub async fn serve(
    listeners: Vec<TcpListener>,
    router: Router,
    connections: usize,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
) -> Duration {
    let permits = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
    let (streams, mut accepted) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(accept(listener, permits.clone(), streams.clone()));
    }
    drop(streams);
    let graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            next = accepted.recv() => match next {
                Some((stream, permit)) => connect(stream, &router, &graceful, permit),
                None => break,
            },
        }
    }
    // No more connections are taken.
    tasks.shutdown().await;
    drop(accepted);
    info!("stopping: what is under way has {} s", grace.as_secs());
    let began = Instant::now();
    if timeout(grace, graceful.shutdown()).await.is_err() {
        warn!("some requests were not done in time, and are cut off");
    }
    grace.saturating_sub(began.elapsed())
}

type Accepted = (TcpStream, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: TcpListener, permits: Arc<Semaphore>, streams: mpsc::Sender<Accepted>) {
    loop {
        // The semaphore is never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                if streams.send((stream, permit)).await.is_err() {
                    return;
                }
            }
            Err(cause) if is_of_one_connection(&cause) => {}
            Err(cause) => {
                warn!("cannot accept connections for now: {cause}");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whether an error says something about the connection that was to be accepted, rather than about the system.
fn is_of_one_connection(cause: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(cause.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn connect(stream: TcpStream, router: &Router, graceful: &GracefulShutdown, permit: tokio::sync::OwnedSemaphorePermit) {
    // Tokens are small and are to leave at once.
    stream.set_nodelay(true).ok();
    let service = TowerToHyperService::new(router.clone());
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    // Some clients look for names of headers as they are usually written.
    builder
        .http1()
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(Box::pin(stream)), service).into_owned();
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(cause) = connection.await {
            debug!("a connection ended: {cause}");
        }
        drop(permit);
    });
}
