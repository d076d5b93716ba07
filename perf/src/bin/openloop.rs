//! Requests that are due at fixed times, whatever became of those before: what waits
//! because an answer was late counts as late. `perf/http/latency` runs it.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// How long answers may take after the last request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer, its head included, at most.
const ANSWER_MAX: usize = 64 << 10;

/// Sends HTTP/1.1 requests at a fixed rate over connections that are kept, and prints how
/// long after its due time each was answered.
#[derive(Parser)]
struct Args {
    /// Where the server is.
    address: SocketAddr,
    /// Its name.
    #[arg(long, default_value = "shop.example")]
    host: String,
    /// What is asked for.
    #[arg(long, default_value = "/1k")]
    path: String,
    /// Bytes of each answer's body.
    #[arg(long, default_value_t = 1024)]
    length: usize,
    /// Requests a second, over all connections.
    #[arg(long)]
    rate: f64,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds that count.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds before those, which do not.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
}

/// What is printed; times are in microseconds.
#[derive(Serialize)]
struct Report {
    rate: f64,
    requests: usize,
    /// From when a request was due to the end of its answer.
    mean: f64,
    p50: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
    /// What requests waited for this very program, though a connection was free.
    late_p99: f64,
    /// Requests that found no connection free when they were due.
    waited: usize,
}

struct Connection {
    stream: TcpStream,
    /// When the request was due that is not answered.
    due: Option<Duration>,
    answer: Vec<u8>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.rate > 0.0 && args.connections > 0, "no requests");
    // Else the kernel wakes sleepers late on purpose.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    println!("{}", serde_json::to_string(&run(&args)?)?);
    Ok(())
}

fn run(args: &Args) -> Result<Report> {
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", args.path, args.host);
    let connect = |_| -> Result<Connection> {
        let stream = TcpStream::connect(args.address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, due: None, answer: Vec::new() })
    };
    let mut connections = (0..args.connections).map(connect).collect::<Result<Vec<_>>>()?;
    // All take their turns.
    let mut free: VecDeque<usize> = (0..args.connections).collect();
    let all = ((args.warm_up + args.seconds) * args.rate) as usize;
    let uncounted = (args.warm_up * args.rate) as usize;
    let due_of = |number: usize| Duration::from_secs_f64(number as f64 / args.rate);
    let mut taken = Vec::with_capacity(all);
    let mut late = Vec::with_capacity(all);
    let (mut sent, mut answered, mut waited, mut free_since) = (0, 0, 0, Duration::ZERO);
    let began = Instant::now();
    while answered < all {
        let now = began.elapsed();
        while sent < all && due_of(sent) <= now {
            let Some(index) = free.pop_front() else { break };
            let connection = &mut connections[index];
            let due = due_of(sent);
            if sent >= uncounted {
                late.push(began.elapsed().saturating_sub(due.max(free_since)));
                waited += usize::from(free_since > due);
            }
            // So little always fits.
            let written = connection.stream.write(request.as_bytes()).context("cannot send")?;
            ensure!(written == request.len(), "a request was cut");
            connection.due = Some(due);
            sent += 1;
        }
        ensure!(now < due_of(all) + PATIENCE, "{} requests are not answered", all - answered);
        let next = match sent < all && !free.is_empty() {
            true => due_of(sent).saturating_sub(began.elapsed()),
            false => Duration::from_millis(100),
        };
        let was_busy = free.is_empty();
        for index in ready(&connections, next)? {
            let Some(connection) = connections.get_mut(index) else { continue };
            if !is_answered(connection, args.length)? {
                continue;
            }
            let Some(due) = connection.due.take() else { bail!("an answer to nothing") };
            if answered >= uncounted {
                taken.push(began.elapsed().saturating_sub(due));
            }
            answered += 1;
            free.push_back(index);
        }
        if was_busy && !free.is_empty() {
            free_since = began.elapsed();
        }
    }
    late.sort_unstable();
    taken.sort_unstable();
    let total: Duration = taken.iter().sum();
    Ok(Report {
        rate: args.rate,
        requests: taken.len(),
        mean: micros(total) / taken.len().max(1) as f64,
        p50: percentile(&taken, 0.5),
        p99: percentile(&taken, 0.99),
        p99_9: percentile(&taken, 0.999),
        max: percentile(&taken, 1.0),
        late_p99: percentile(&late, 0.99),
        waited,
    })
}

fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

/// What so large a part of sorted times is not above.
fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(f64::NAN, |time| micros(*time))
}

/// Waits for answers; which connections have something.
fn ready(connections: &[Connection], time: Duration) -> Result<Vec<usize>> {
    let asked = connections.iter().enumerate().filter(|(_, of)| of.due.is_some());
    let (numbers, mut awaited): (Vec<_>, Vec<_>) = asked
        .map(|(index, of)| (index, PollFd::new(&of.stream, PollFlags::IN)))
        .unzip();
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    poll(&mut awaited, Some(&time))?;
    let ready = numbers.into_iter().zip(&awaited).filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ready.map(|(index, _)| index).collect())
}

/// Reads what has come; whether that is all of an answer.
fn is_answered(connection: &mut Connection, length: usize) -> Result<bool> {
    let mut buffer = [0; 16 << 10];
    match connection.stream.read(&mut buffer) {
        Ok(0) => bail!("a connection has ended"),
        Ok(read) => connection.answer.extend_from_slice(&buffer[..read]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(error).context("cannot read"),
    }
    let answer = &connection.answer;
    ensure!(answer.len() <= ANSWER_MAX, "an answer is too long");
    let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(false);
    };
    let body = answer.len() - head - 4;
    if body < length {
        return Ok(false);
    }
    let head = std::str::from_utf8(&answer[..head]).context("an answer's head")?;
    let (status, fields) = head.split_once("\r\n").context("an answer's head")?;
    ensure!(status.starts_with("HTTP/1.1 200"), "answered {status}");
    let mut fields = fields.split("\r\n").filter_map(|field| field.split_once(':'));
    let told = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let told = told.and_then(|(_, value)| value.trim().parse().ok());
    ensure!(told == Some(length) && body == length, "an answer of {body} bytes, {told:?} told");
    connection.answer.clear();
    Ok(true)
}
