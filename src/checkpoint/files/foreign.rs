//! Files that are something else than their name says: the stand-in of a file that was not downloaded, a page that a server sent
//! instead, another format. All that is looked at are the first bytes.

use std::borrow::Cow;

use serde_json::Value;

use crate::error::harmless;
use crate::{Bytes, Error, Result, decode};

/// Bytes of a file that tell what it is.
pub(crate) const HEAD: usize = 1024;

const AGAIN: &str = "download the file again";
const LFS: &str = "run \"git lfs pull\" in its folder, or download the file itself";

/// Formats that begin with bytes of their own, at an offset, and what to do about them.
const FORMATS: [(usize, &[u8], &str, &str); 27] = [
    (0, b"GGUF", "GGUF", "GGUF is not supported yet"),
    (0, b"lmgg", "GGML", "convert the original model to safetensors"),
    (0, b"tjgg", "GGML", "convert the original model to safetensors"),
    (
        0,
        b"PK\x03\x04",
        "a zip archive, as PyTorch's pickles are too",
        "pickles are never opened: unpack it, or convert it to safetensors",
    ),
    (0, b"PK\x05\x06", "an empty zip archive", AGAIN),
    (0, b"\x80\x02", "a pickle", "pickles are never opened: convert it to safetensors"),
    (0, b"\x80\x03", "a pickle", "pickles are never opened: convert it to safetensors"),
    (0, b"\x80\x04", "a pickle", "pickles are never opened: convert it to safetensors"),
    (0, b"\x80\x05", "a pickle", "pickles are never opened: convert it to safetensors"),
    (0, b"\x1f\x8b", "compressed by gzip", "unpack it first"),
    (0, b"\xfd7zXZ\0", "compressed by xz", "unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it first"),
    (0, b"\x04\x22\x4d\x18", "compressed by lz4", "unpack it first"),
    (0, b"BZh", "compressed by bzip2", "unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (0, b"Rar!\x1a\x07", "a rar archive", "unpack it first"),
    (257, b"ustar", "a tar archive", "unpack it first"),
    (0, b"%PDF-", "a PDF", AGAIN),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5", "convert the original model to safetensors"),
    (0, b"\x93NUMPY", "an array of NumPy", "convert the original model to safetensors"),
    (4, b"TFL3", "TensorFlow Lite", "convert the original model to safetensors"),
    (0, b"\x08\x07\x12", "ONNX", "take the original model's safetensors"),
    (0, b"\x08\x08\x12", "ONNX", "take the original model's safetensors"),
    (0, b"\x08\x09\x12", "ONNX", "take the original model's safetensors"),
    (0, b"\x08\x0a\x12", "ONNX", "take the original model's safetensors"),
    (0, b"\x7fELF", "a program", AGAIN),
    (0, b"\x89PNG", "an image", AGAIN),
];

/// Fails if `bytes`, all of the file `name` that should hold JSON or a template, are plainly something else.
pub(crate) fn check(name: &str, bytes: &[u8]) -> Result<()> {
    let is_json = name.ends_with(".json");
    let head = &bytes[..bytes.len().min(HEAD)];
    let what = describe(head, bytes.len() as u64, true).or_else(|| {
        let is_text = is_json.then(|| describe(head, bytes.len() as u64, false)).flatten();
        is_text.map(|what| format!("not valid JSON: {what}"))
    });
    let what = what.or_else(|| is_json.then(|| message(bytes)).flatten());
    let what = what.or_else(|| {
        let is_other = is_json && is_header(head);
        is_other.then(|| "is a safetensors file, expected JSON: it has another file's name".to_owned())
    });
    what.map_or(Ok(()), |what| Err(Error::model(format!("file {name:?}: {what}"))))
}

/// What a file of `len` bytes is that begins with `head`, and what to do, if it is plainly not what it should be. Text may be
/// right where `text_is_right`: a template can say almost anything.
pub(crate) fn describe(head: &[u8], len: u64, text_is_right: bool) -> Option<String> {
    if len == 0 {
        return (!text_is_right).then(|| format!("is empty, truncated to 0 bytes: {AGAIN}"));
    }
    if head.len() >= 16 && head.iter().all(|&byte| byte == 0) {
        return Some(format!("begins with zeros only, as an unfinished download or a damaged disk leaves it: {AGAIN}"));
    }
    let format = FORMATS.iter().find(|(at, magic, ..)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    if let Some((_, _, what, advice)) = format {
        return Some(format!("is {what}: {advice}"));
    }
    describe_text(text(head)?.trim_start(), len, text_is_right)
}

/// What a file of `len` bytes is that begins with `head`, whose first bytes give no length of a header.
pub(crate) fn no_header(head: &[u8], len: u64) -> Option<String> {
    if let Some(what) = Some(head).filter(|head| head.len() as u64 == len).and_then(message) {
        return Some(what);
    }
    let text = text(head)?;
    let first = harmless(text.trim_start().lines().next().unwrap_or_default(), 80);
    Some(format!("is text that begins with {first:?}, expected safetensors: {AGAIN}"))
}

/// The bytes as text, if they are, without the end that may be cut.
fn text(head: &[u8]) -> Option<Cow<'_, str>> {
    let even = &head[..head.len() - head.len() % 2];
    let decoded = decode::text(head).or_else(|_| decode::text(even)).ok();
    let decoded = decoded.or_else(|| match std::str::from_utf8(head) {
        Ok(text) => Some(Cow::Borrowed(text)),
        Err(error) if error.error_len().is_none() => Some(String::from_utf8_lossy(&head[..error.valid_up_to()])),
        Err(_) => None,
    })?;
    let is_control = |c: char| c.is_control() && !c.is_whitespace();
    (!decoded.is_empty() && !decoded.chars().any(is_control)).then_some(decoded)
}

fn describe_text(text: &str, len: u64, text_is_right: bool) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let first = || harmless(text.lines().next().unwrap_or_default(), 80);
    if lower.starts_with("version https://git-lfs") || lower.starts_with("version https://hawser") {
        let size = text.lines().find_map(|line| line.strip_prefix("size ")?.trim().parse().ok());
        let size = size.map_or(String::new(), |size| format!(" to {}", Bytes(size)));
        return Some(format!("is a Git LFS pointer{size}, expected the file itself: {LFS}"));
    }
    if lower.starts_with("# xet version")
        || lower.starts_with("/annex/objects/")
        || text.contains(".git/annex/objects/")
    {
        return Some(
            "is a pointer to a file that was not downloaded, expected the file itself: download it".to_owned(),
        );
    }
    let is_one_line = len < 512 && text.trim_end().lines().count() == 1;
    if is_one_line && !text.contains('{') && (text.starts_with("../") || text.contains("/blobs/")) {
        return Some(format!("holds the text of a link, {:?}, expected the file that it led to: {AGAIN}", first()));
    }
    let page =
        lower.split_once("-->").filter(|_| lower.starts_with("<!--")).map_or(&*lower, |(_, rest)| rest.trim_start());
    if ["<!doctype", "<html", "<head", "<body"].iter().any(|tag| page.starts_with(tag)) {
        return Some(format!("is a page of HTML, as servers send for a login or an error: {AGAIN}"));
    }
    if lower.starts_with("<?xml") || lower.starts_with("<error") {
        return Some(format!("is XML, as servers send for an error: {AGAIN}"));
    }
    const ERRORS: [&str; 9] = [
        "not found",
        "entry not found",
        "404",
        "403",
        "401",
        "access to",
        "access denied",
        "repository not found",
        "invalid ",
    ];
    if is_one_line && !text.contains('{') && ERRORS.iter().any(|error| lower.starts_with(error)) {
        return Some(format!("holds the text {:?}, as servers send for an error: {AGAIN}", first()));
    }
    let is_json = matches!(text.as_bytes().first(), Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9'));
    (!text_is_right && len >= 16 && !is_json && !is_literal(&lower))
        .then(|| format!("is text that begins with {:?}: {AGAIN}", first()))
}

fn is_literal(text: &str) -> bool {
    let word = text.trim_end();
    ["null", "true", "false"].contains(&word)
}

/// What a server says in JSON instead of sending the file, if `bytes` are that.
fn message(bytes: &[u8]) -> Option<String> {
    const KEYS: [&str; 16] = [
        "error",
        "errors",
        "message",
        "msg",
        "status",
        "statusCode",
        "code",
        "detail",
        "details",
        "documentation_url",
        "path",
        "timestamp",
        "requestId",
        "request_id",
        "error_description",
        "success",
    ];
    if bytes.len() > 4096 {
        return None;
    }
    let text = decode::text(bytes).ok()?;
    let Ok(Value::Object(map)) = serde_json::from_str(&text) else { return None };
    let is_error = ["error", "errors", "message", "msg", "detail"].iter().any(|key| map.contains_key(*key));
    (is_error && map.keys().all(|key| KEYS.contains(&key.as_str())))
        .then(|| format!("holds a server's message, {}, expected the file: {AGAIN}", harmless(text.trim(), 200)))
}

/// Whether these are the first bytes of a safetensors file.
fn is_header(head: &[u8]) -> bool {
    head.len() > 9 && head[8] == b'{' && head[5..8] == [0; 3]
}
