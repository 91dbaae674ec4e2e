//! Amounts of memory as people write and read them.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Bytes. Written with one decimal in the largest unit that leaves at least 1: `6.2 MiB`. Read as `8G`, `7.5GiB`, `900M` or
/// a bare number of bytes: units are powers of 1024, with or without `iB`, as device memory is sold and reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

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

impl FromStr for Bytes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| {
            Error::Usage(format!("size: found {text:?}{why}, expected a number with K, M, G or T, like 8G or 7.5GiB"))
        };
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = (&trimmed[..end], trimmed[end..].trim().to_ascii_uppercase());
        let shift = match unit.strip_suffix("IB").unwrap_or(&unit) {
            "" if unit.is_empty() => 0,
            one => match UNITS.iter().find(|(name, _)| one.len() == 1 && one.starts_with(*name)) {
                Some((_, shift)) => *shift,
                // 10^9 or 2^30: the one who wrote it knows.
                None if unit.ends_with('B') => return Err(wrong(", whose unit could mean powers of 1000 or of 1024")),
                None => return Err(wrong("")),
            },
        };
        let value: f64 = number.parse().map_err(|_| wrong(""))?;
        let bytes = value * (1u64 << shift) as f64;
        match bytes {
            bytes if bytes < 1.0 => Err(wrong(", which is no memory at all")),
            bytes if bytes >= (1u64 << 60) as f64 => Err(wrong(", which no device has")),
            bytes => Ok(Bytes(bytes as u64)),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("8G", 8 << 30),
            ("7.5GiB", 15 << 29),
            ("900M", 900 << 20),
            (" 64 k ", 64 << 10),
            ("1tib", 1 << 40),
            ("123", 123),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap(), Bytes(bytes), "{text:?}");
        }
        for text in ["", "G", "8GB", "8 B", "-1G", "8X", "8GG", "1e3", "0", "0.1", "9999999T", "1.2.3G", "8iB"] {
            let error = text.parse::<Bytes>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("size: found {text:?}")) && error.ends_with("7.5GiB"), "{error}");
        }
    }

    #[test]
    fn sizes_are_written() {
        let text = |bytes| Bytes(bytes).to_string();
        assert_eq!([text(0), text(1023), text(1024), text(6_532_896)], ["0 bytes", "1023 bytes", "1.0 KiB", "6.2 MiB"]);
        assert_eq!(text((1 << 30) - 1), "1.0 GiB");
    }
}
