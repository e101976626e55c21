//! The real Prometheus (`/usr/bin/prometheus` or $PROMETHEUS) as a process of a test.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts it with `prometheus.yml` and the data of a directory, and waits until it is ready.
pub(crate) fn start(directory: &Path, port: u16, more: &[String]) -> Running {
    let program = std::env::var("PROMETHEUS").unwrap_or_else(|_| "/usr/bin/prometheus".into());
    let path = |name: &str| directory.join(name).display().to_string();
    let mut child = Command::new(&program)
        .arg(format!("--config.file={}", path("prometheus.yml")))
        .arg(format!("--storage.tsdb.path={}", path("data")))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(more)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let is_ready = |line: &String| line.contains("Server is ready to receive web requests");
    assert!(lines.by_ref().map_while(Result::ok).any(|line| is_ready(&line)), "it starts");
    // Its log must be read on, or it stops when the pipe is full.
    std::thread::spawn(move || lines.for_each(drop));
    Running(child)
}
