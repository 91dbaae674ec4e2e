//! Amounts of memory as people read them.

use std::fmt;

/// Bytes. Written with one decimal in the largest unit that leaves at least 1: `6.2 MiB`. Read as `8G`, `7.5GiB`, `900M` or
/// a bare number of bytes: units are powers of 1024, with or without `iB`, as device memory is sold and reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        for unit in ["bytes", "KiB", "MiB", "GiB"] {
            if value < 1023.95 {
                let digits = usize::from(unit != "bytes");
                return write!(f, "{value:.digits$} {unit}");
            }
            value /= 1024.0;
        }
        write!(f, "{value:.1} TiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written() {
        let text = |bytes| Bytes(bytes).to_string();
        assert_eq!([text(0), text(1023), text(1024), text(6_532_896)], ["0 bytes", "1023 bytes", "1.0 KiB", "6.2 MiB"]);
        assert_eq!(text((1 << 30) - 1), "1.0 GiB");
    }
}
