//! Amounts of memory as people write them.

use std::str::FromStr;

use super::size::Bytes;
use crate::Error;
use crate::error::Usage;

const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

impl FromStr for Bytes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| {
            Error::from(Usage::Value {
                name: "size".into(),
                found: format!("{text:?}{why}"),
                expected: "a number with K, M, G or T, like 8G or 7.5GiB".into(),
            })
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
}
