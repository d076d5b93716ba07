//! Bytes to the gateway and back. For threads in the client's namespace.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::time::Duration;

/// How long an answer may take: a machine that is too busy for so long fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to an address and port.
pub fn connect(address: &str, port: u16) -> TcpStream {
    let address: IpAddr = address.parse().unwrap();
    let stream = TcpStream::connect((address, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends bytes to the port of HTTP and no more, and reads until the gateway ends.
pub fn exchange(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address, 80);
    // Whoever is refused may be hung up on before everything is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    rest(&mut stream)
}

/// What comes until the gateway ends.
pub fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    answer
}

/// The head and the body of the answer to a GET.
pub fn get(address: &str, host: &str, path: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8_lossy(&exchange(address, request.as_bytes())).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}
