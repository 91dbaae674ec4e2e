//! Files in the cache folder: written whole or not at all, also where another process does the same.

use std::fs;
use std::io;
use std::path::Path;

/// Writes `bytes` to `path`, whose folder is made on the way.
///
/// # Errors
/// What the system says; then the file is as it was.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        fs::remove_file(&part).ok();
    }
    written
}

/// FNV-1a of 64 bits over the bytes and their number.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let length = (bytes.len() as u64).to_le_bytes();
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().chain(&length).fold(0xcbf2_9ce4_8422_2325, mix)
}
