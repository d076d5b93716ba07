//! Requests that are due at fixed times, whatever became of those before: what waits
//! because an answer was late counts as late. `perf/http/latency` runs it.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use serde::Serialize;
use sluice_perf::limits;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long answers may take after the last request.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it sleeps where nothing is due.
const PAUSE: Duration = Duration::from_millis(100);
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
    /// Requests a second, over all connections; without it each connection asks again as
    /// soon as it is answered.
    #[arg(long, value_parser = limits::some_rate, allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds that count.
    #[arg(long, default_value_t = 10.0, value_parser = limits::seconds,
        allow_negative_numbers = true)]
    seconds: f64,
    /// Seconds before those, which do not.
    #[arg(long, default_value_t = 1.0, value_parser = limits::warm_up,
        allow_negative_numbers = true)]
    warm_up: f64,
}

/// What is printed; times are in microseconds.
#[derive(Serialize)]
struct Report {
    /// Requests a second that were answered.
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

/// When requests are due.
struct Schedule {
    rate: Option<f64>,
    end: Duration,
    /// The number of the next one.
    next: usize,
}

impl Schedule {
    /// When the next one is due; those that follow an answer are at once.
    fn due(&self, now: Duration) -> Option<Duration> {
        let due = self.rate.map_or(now, |rate| Duration::from_secs_f64(self.next as f64 / rate));
        (due < self.end).then_some(due)
    }
}

struct Connection {
    stream: TcpStream,
    /// When the request was due that is not answered.
    due: Duration,
    answer: Vec<u8>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.connections > 0, "--connections 0: without one there are no requests");
    // Else the kernel wakes sleepers late on purpose.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    println!("{}", serde_json::to_string(&run(&args)?)?);
    Ok(())
}

fn run(args: &Args) -> Result<Report> {
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", args.path, args.host);
    let answers = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let connect = |number: usize| -> Result<Connection> {
        let stream = TcpStream::connect(args.address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&answers, &stream, data, epoll::EventFlags::IN)?;
        Ok(Connection { stream, due: Duration::ZERO, answer: Vec::new() })
    };
    let mut connections = (0..args.connections).map(connect).collect::<Result<Vec<_>>>()?;
    // All take their turns.
    let mut free: VecDeque<usize> = (0..args.connections).collect();
    let from = Duration::from_secs_f64(args.warm_up);
    let end = from + Duration::from_secs_f64(args.seconds);
    let mut schedule = Schedule { rate: args.rate, end, next: 0 };
    let (mut taken, mut late) = (Vec::new(), Vec::new());
    let (mut waited, mut free_since) = (0, Duration::ZERO);
    let mut events = Vec::with_capacity(args.connections);
    let began = Instant::now();
    loop {
        let mut now = began.elapsed();
        let mut next = None;
        while let Some(index) = free.front() {
            next = schedule.due(now);
            let Some(due) = next.filter(|due| *due <= now) else { break };
            if due >= from {
                late.push(now.saturating_sub(due.max(free_since)));
                waited += usize::from(free_since > due);
            }
            let connection = &mut connections[*index];
            // So little always fits.
            let written = connection.stream.write(request.as_bytes()).context("cannot send")?;
            ensure!(written == request.len(), "a request was cut");
            connection.due = due;
            free.pop_front();
            schedule.next += 1;
            now = began.elapsed();
        }
        let open = args.connections - free.len();
        if open == 0 && next.is_none() {
            break;
        }
        ensure!(now < end + PATIENCE, "{open} requests are not answered");
        let pause = next.map_or(PAUSE, |due| due.saturating_sub(now));
        wait(&answers, &mut events, pause)?;
        let now = began.elapsed();
        if free.is_empty() {
            free_since = now;
        }
        for event in &events {
            let index = event.data.u64() as usize;
            let Some(connection) = connections.get_mut(index) else { continue };
            if is_answered(connection, args.length)? {
                if connection.due >= from {
                    taken.push(began.elapsed().saturating_sub(connection.due));
                }
                free.push_back(index);
            }
        }
    }
    let took = began.elapsed().saturating_sub(from);
    late.sort_unstable();
    taken.sort_unstable();
    let total: Duration = taken.iter().sum();
    Ok(Report {
        rate: (taken.len() as f64 / took.as_secs_f64()).round(),
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

/// Waits for answers, no longer than until the next request is due.
fn wait(answers: &OwnedFd, events: &mut Vec<epoll::Event>, pause: Duration) -> Result<()> {
    events.clear();
    epoll::wait(answers, spare_capacity(events), Some(&Timespec::default()))?;
    if events.is_empty() && !pause.is_zero() {
        // Its own time-out is one of milliseconds.
        let time =
            Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: pause.subsec_nanos().into() };
        poll(&mut [PollFd::new(answers, PollFlags::IN)], Some(&time))?;
        epoll::wait(answers, spare_capacity(events), Some(&Timespec::default()))?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates_that_cannot_be_are_refused_by_their_options() {
        let read = |option, value| {
            let args = Args::try_parse_from(["openloop", "10.0.0.1:80", option, value]);
            args.map_err(|error| error.to_string())
        };
        assert_eq!(read("--warm-up", "0").ok().unwrap().warm_up, 0.0);
        assert_eq!(read("--rate", "1e5").ok().unwrap().rate, Some(1e5));
        for (option, wrong) in [
            ("--seconds", "-1"),
            ("--seconds", "0"),
            ("--warm-up", "-1"),
            ("--warm-up", "nan"),
            ("--rate", "0"),
            ("--rate", "-5"),
            ("--rate", "inf"),
        ] {
            let error = read(option, wrong).err().unwrap();
            let says = format!("invalid value '{wrong}' for '{option} <");
            assert!(error.contains(&says), "{option} {wrong}: {error}");
        }
    }

    #[test]
    fn latency_says_who_cannot_be_measured_and_why() {
        let script = "import runpy\n\
                      maximum = runpy.run_path('latency')['maximum']\n\
                      assert maximum('nginx', {'rate': 5.0}) == 5.0\n\
                      maximum('haproxy', {'failed': 'a connection has ended'})";
        let mut python = std::process::Command::new("python3");
        python.args(["-B", "-c", script]);
        let done = python.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/http")).output();
        let error = String::from_utf8(done.expect("python3 runs").stderr).unwrap();
        assert_eq!(
            error,
            "latency: the maximum of haproxy cannot be measured: a connection has ended\n"
        );
    }
}
