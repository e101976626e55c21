//! The Protocol Buffers form of Prometheus' exposition, the only one that has native histograms
//! (<https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>): as much of it as two counters and
//! one histogram need.

/// Its content type.
pub(crate) const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

const COUNTER: u64 = 0;
const HISTOGRAM: u64 = 4;

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
    out
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn double(field: u64, value: f64) -> Vec<u8> {
    [varint(field << 3 | 1), value.to_le_bytes().to_vec()].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn family(name: &str, kind: u64, metric: &[u8]) -> Vec<u8> {
    let message = [bytes(1, name.as_bytes()), number(3, kind), bytes(4, metric)].concat();
    [varint(message.len() as u64), message].concat()
}

/// A counter.
pub(crate) fn counter(name: &str, value: u64) -> Vec<u8> {
    #[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
    let value = double(1, value as f64);
    family(name, COUNTER, &bytes(3, &value))
}

/// A native histogram of schema 0, whose bucket of index i ends at 2^i: `fast` requests of 0.25 s to 0.5 s, `slow` ones of 1 s to
/// 2 s.
pub(crate) fn native_histogram(name: &str, fast: u64, slow: u64) -> Vec<u8> {
    let span = |offset: i64| [number(1, zigzag(offset)), number(2, 1)].concat();
    let delta = |it: i64| number(13, zigzag(it));
    let [fast_count, slow_count] = [fast, slow].map(|it| i64::try_from(it).unwrap());
    let histogram = [
        number(1, fast + slow),
        double(2, 1.0),
        number(5, zigzag(0)),
        double(6, 1e-9),
        number(7, 0),
        bytes(12, &span(-1)),
        // Counted from the end of the bucket before.
        bytes(12, &span(1)),
        delta(fast_count),
        delta(slow_count - fast_count),
    ];
    family(name, HISTOGRAM, &bytes(7, &histogram.concat()))
}
