//! Files that are something else than their name says: the stand-in of a file that was not downloaded, a page that a server sent
//! instead, another format. All that is looked at are the first bytes.

use std::borrow::Cow;

use serde_json::Value;

use crate::error::{Fault, Remedy, harmless};
use crate::{Bytes, Result, decode};

/// Bytes of a file that tell what it is.
pub(crate) const HEAD: usize = 1024;

/// A format that begins with bytes of its own.
struct Format {
    /// Where they begin.
    at: usize,
    magic: &'static [u8],
    /// What such a file is.
    what: &'static str,
    /// Why it is not read as it is, where that is not plain.
    why: Option<&'static str>,
    remedy: Option<Remedy>,
}

const fn format(magic: &'static [u8], what: &'static str, remedy: Remedy) -> Format {
    Format { at: 0, magic, what, why: None, remedy: Some(remedy) }
}

const fn pickle(magic: &'static [u8], what: &'static str, remedy: Remedy) -> Format {
    Format { at: 0, magic, what, why: Some("pickles are never opened"), remedy: Some(remedy) }
}

/// Formats that are told by their first bytes, and what to do about them.
const FORMATS: [Format; 27] = [
    Format { at: 0, magic: b"GGUF", what: "GGUF", why: Some("GGUF is not supported yet"), remedy: None },
    format(b"lmgg", "GGML", Remedy::ConvertOriginal),
    format(b"tjgg", "GGML", Remedy::ConvertOriginal),
    pickle(b"PK\x03\x04", "a zip archive, as PyTorch's pickles are too", Remedy::UnpackOrConvert),
    format(b"PK\x05\x06", "an empty zip archive", Remedy::DownloadAgain),
    pickle(b"\x80\x02", "a pickle", Remedy::Convert),
    pickle(b"\x80\x03", "a pickle", Remedy::Convert),
    pickle(b"\x80\x04", "a pickle", Remedy::Convert),
    pickle(b"\x80\x05", "a pickle", Remedy::Convert),
    format(b"\x1f\x8b", "compressed by gzip", Remedy::Unpack),
    format(b"\xfd7zXZ\0", "compressed by xz", Remedy::Unpack),
    format(b"\x28\xb5\x2f\xfd", "compressed by zstd", Remedy::Unpack),
    format(b"\x04\x22\x4d\x18", "compressed by lz4", Remedy::Unpack),
    format(b"BZh", "compressed by bzip2", Remedy::Unpack),
    format(b"7z\xbc\xaf\x27\x1c", "a 7z archive", Remedy::Unpack),
    format(b"Rar!\x1a\x07", "a rar archive", Remedy::Unpack),
    Format { at: 257, magic: b"ustar", what: "a tar archive", why: None, remedy: Some(Remedy::Unpack) },
    format(b"%PDF-", "a PDF", Remedy::DownloadAgain),
    format(b"\x89HDF\r\n\x1a\n", "HDF5", Remedy::ConvertOriginal),
    format(b"\x93NUMPY", "an array of NumPy", Remedy::ConvertOriginal),
    Format { at: 4, magic: b"TFL3", what: "TensorFlow Lite", why: None, remedy: Some(Remedy::ConvertOriginal) },
    format(b"\x08\x07\x12", "ONNX", Remedy::TakeOriginal),
    format(b"\x08\x08\x12", "ONNX", Remedy::TakeOriginal),
    format(b"\x08\x09\x12", "ONNX", Remedy::TakeOriginal),
    format(b"\x08\x0a\x12", "ONNX", Remedy::TakeOriginal),
    format(b"\x7fELF", "a program", Remedy::DownloadAgain),
    format(b"\x89PNG", "an image", Remedy::DownloadAgain),
];

/// Fails if `bytes`, all of the file `name` that should hold JSON or a template, are plainly something else.
pub(crate) fn check(name: &str, bytes: &[u8]) -> Result<()> {
    let is_json = name.ends_with(".json");
    let head = &bytes[..bytes.len().min(HEAD)];
    let what = describe(name, head, bytes.len() as u64, true).or_else(|| {
        let fault = is_json.then(|| describe(name, head, bytes.len() as u64, false)).flatten()?;
        let found = format!("not valid JSON: {}", fault.found);
        Some(fault.found(found))
    });
    let what = what.or_else(|| is_json.then(|| message(name, bytes)).flatten());
    let what = what.or_else(|| {
        let is_other = is_json && is_header(head);
        let fault = || Fault::file(name).found("is a safetensors file");
        is_other.then(|| fault().expected_in(", expected ", "JSON", ": it has another file's name"))
    });
    what.map_or(Ok(()), |fault| Err(fault.into()))
}

/// What the file `name` of `len` bytes is that begins with `head`, and what to do, if it is plainly not what it should be. Text
/// may be right where `text_is_right`: a template can say almost anything.
pub(crate) fn describe(name: &str, head: &[u8], len: u64, text_is_right: bool) -> Option<Fault> {
    if len == 0 {
        return (!text_is_right).then(|| again(name, "is empty, truncated to 0 bytes"));
    }
    if head.len() >= 16 && head.iter().all(|&byte| byte == 0) {
        return Some(again(name, "begins with zeros only, as an unfinished download or a damaged disk leaves it"));
    }
    let begins = |format: &&Format| head.get(format.at..).is_some_and(|rest| rest.starts_with(format.magic));
    if let Some(Format { what, why, remedy, .. }) = FORMATS.iter().find(begins) {
        let why = why.map_or(String::new(), |why| format!(": {why}"));
        let fault = Fault::file(name).found(format!("is {what}{why}"));
        return Some(match remedy {
            Some(remedy) => fault.remedy(remedy.clone()),
            None => fault.unsupported(),
        });
    }
    describe_text(name, text(head)?.trim_start(), len, text_is_right)
}

/// The file `name`, of which this was found, and which is to be downloaded again.
fn again(name: &str, found: impl AsRef<str>) -> Fault {
    Fault::file(name).found(found).remedy(Remedy::DownloadAgain)
}

/// What the file `name` of `len` bytes is that begins with `head`, whose first bytes give no length of a header.
pub(crate) fn no_header(name: &str, head: &[u8], len: u64) -> Option<Fault> {
    if let Some(fault) = Some(head).filter(|head| head.len() as u64 == len).and_then(|head| message(name, head)) {
        return Some(fault);
    }
    let text = text(head)?;
    let first = harmless(text.trim_start().lines().next().unwrap_or_default(), 80);
    Some(again(name, format!("is text that begins with {first:?}")).expected("safetensors"))
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

fn describe_text(name: &str, text: &str, len: u64, text_is_right: bool) -> Option<Fault> {
    let lower = text.to_ascii_lowercase();
    let first = || harmless(text.lines().next().unwrap_or_default(), 80);
    if lower.starts_with("version https://git-lfs") || lower.starts_with("version https://hawser") {
        let size = text.lines().find_map(|line| line.strip_prefix("size ")?.trim().parse().ok());
        let size = size.map_or(String::new(), |size| format!(" to {}", Bytes(size)));
        let fault = Fault::file(name).found(format!("is a Git LFS pointer{size}"));
        return Some(fault.expected("the file itself").remedy(Remedy::PullLfs));
    }
    if lower.starts_with("# xet version")
        || lower.starts_with("/annex/objects/")
        || text.contains(".git/annex/objects/")
    {
        let fault = Fault::file(name).found("is a pointer to a file that was not downloaded");
        return Some(fault.expected("the file itself").remedy(Remedy::Download));
    }
    let is_one_line = len < 512 && text.trim_end().lines().count() == 1;
    if is_one_line && !text.contains('{') && (text.starts_with("../") || text.contains("/blobs/")) {
        let fault = again(name, format!("holds the text of a link, {:?}", first()));
        return Some(fault.expected("the file that it led to"));
    }
    let page =
        lower.split_once("-->").filter(|_| lower.starts_with("<!--")).map_or(&*lower, |(_, rest)| rest.trim_start());
    if ["<!doctype", "<html", "<head", "<body"].iter().any(|tag| page.starts_with(tag)) {
        return Some(again(name, "is a page of HTML, as servers send for a login or an error"));
    }
    if lower.starts_with("<?xml") || lower.starts_with("<error") {
        return Some(again(name, "is XML, as servers send for an error"));
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
        return Some(again(name, format!("holds the text {:?}, as servers send for an error", first())));
    }
    let is_json = matches!(text.as_bytes().first(), Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9'));
    (!text_is_right && len >= 16 && !is_json && !is_literal(&lower))
        .then(|| again(name, format!("is text that begins with {:?}", first())))
}

fn is_literal(text: &str) -> bool {
    let word = text.trim_end();
    ["null", "true", "false"].contains(&word)
}

/// What a server says in JSON instead of sending the file `name`, if `bytes` are that.
fn message(name: &str, bytes: &[u8]) -> Option<Fault> {
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
    let found = || format!("holds a server's message, {}", harmless(text.trim(), 200));
    (is_error && map.keys().all(|key| KEYS.contains(&key.as_str()))).then(|| again(name, found()).expected("the file"))
}

/// Whether these are the first bytes of a safetensors file.
fn is_header(head: &[u8]) -> bool {
    head.len() > 9 && head[8] == b'{' && head[5..8] == [0; 3]
}
