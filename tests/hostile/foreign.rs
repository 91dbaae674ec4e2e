//! Files that are no checkpoint under a checkpoint's names: each is called what it is.

use std::fs;

use lapidary::Error;
use lapidary::checkpoint::Source;

use super::{Model, expect, open, refused};

/// What people find in place of a file, and what must be said of it.
fn kinds() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5127431392\n";
    let tar = [vec![b'a'; 100], vec![0; 157], b"ustar".to_vec(), vec![0; 300]].concat();
    vec![
        ("pointer", pointer.into(), &["is a Git LFS pointer to 4.8 GiB", "git lfs pull"]),
        ("pointer, CRLF", pointer.replace('\n', "\r\n").into(), &["is a Git LFS pointer to 4.8 GiB"]),
        ("pointer, mark", [b"\xef\xbb\xbf", pointer.as_bytes()].concat(), &["is a Git LFS pointer to 4.8 GiB"]),
        ("old pointer", b"version https://hawser.github.com/spec/v1\n".to_vec(), &["is a Git LFS pointer"]),
        ("xet", b"# xet version 0\nfilesize = 1\n".to_vec(), &["pointer to a file that was not downloaded"]),
        ("annex", b"/annex/objects/SHA256E-s5--4d7a\n".to_vec(), &["pointer to a file that was not downloaded"]),
        ("link text", b"../../blobs/4d7a214614ab".to_vec(), &["the text of a link, \"../../blobs/4d7a214614ab\""]),
        ("html", b"\n  <!DOCTYPE html>\n<html><body>Login</body></html>".to_vec(), &["is a page of HTML"]),
        ("html, mark", "\u{feff}<html lang=\"en\">".as_bytes().to_vec(), &["is a page of HTML"]),
        ("xml", b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>".to_vec(), &["is XML"]),
        ("s3", b"<Error><Code>NoSuchKey</Code></Error>".to_vec(), &["is XML"]),
        ("zip", b"PK\x03\x04\x14\0\0\0archive/data.pkl".to_vec(), &["zip archive", "never opened"]),
        ("pickle", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j".to_vec(), &["is a pickle", "never opened"]),
        ("pickle 4", b"\x80\x04\x95\x10\0\0\0\0\0\0\0".to_vec(), &["is a pickle"]),
        ("gguf", b"GGUF\x03\0\0\0\x10\0\0\0\0\0\0\0".to_vec(), &["is GGUF", "not supported yet"]),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), &["compressed by gzip", "unpack"]),
        ("zstd", b"\x28\xb5\x2f\xfd\x04\x58\0\0".to_vec(), &["compressed by zstd"]),
        ("xz", b"\xfd7zXZ\0\0\x04".to_vec(), &["compressed by xz"]),
        ("7z", b"7z\xbc\xaf\x27\x1c\0\x04".to_vec(), &["7z archive"]),
        ("tar", tar, &["tar archive"]),
        ("pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3".to_vec(), &["is a PDF"]),
        ("hdf5", b"\x89HDF\r\n\x1a\n\0\0\0\0".to_vec(), &["is HDF5"]),
        ("numpy", b"\x93NUMPY\x01\0v\0{'descr'".to_vec(), &["array of NumPy"]),
        ("zeros", vec![0; 4096], &["begins with zeros only", "download the file again"]),
        ("not found", b"Not Found".to_vec(), &["holds the text \"Not Found\""]),
        ("entry", b"Entry not found\n".to_vec(), &["holds the text \"Entry not found\""]),
        ("404", b"404: Not Found".to_vec(), &["holds the text \"404: Not Found\""]),
        ("empty", vec![], &["is empty"]),
    ]
}

/// Fails if `source.read(name)` accepts what lies there.
fn read(what: &str, source: &Source, name: &str, needles: &[&str]) -> String {
    let error: Error = source.read(name).err().unwrap_or_else(|| panic!("{name}, {what}: was accepted"));
    expect(what, &error, needles)
}

#[test]
fn each_is_called_what_it_is() {
    let dir = Model::base().write();
    let source = Source::Directory(dir.path().to_owned());
    for name in ["model.safetensors", "config.json", "model.safetensors.index.json"] {
        let path = dir.path().join(name);
        let before = fs::read(&path).ok();
        for (what, bytes, needles) in kinds() {
            fs::write(&path, bytes).unwrap();
            let found = refused(&format!("{name}, {what}"), dir.path(), needles);
            assert!(found.starts_with(&format!("file {name:?}: ")) && !found.contains('\n'), "{found}");
        }
        match before {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    open(dir.path()).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "quantize_config.json"] {
        for (what, bytes, needles) in
            kinds().into_iter().filter(|(what, ..)| *what != "empty" || !name.ends_with("jinja"))
        {
            fs::write(dir.path().join(name), bytes).unwrap();
            read(&format!("{name}, {what}"), &source, name, needles);
        }
    }
}

#[test]
fn messages_of_servers_in_place_of_json() {
    let dir = Model::base().write();
    for bytes in [
        r#"{"error":"Invalid username or password."}"#,
        r#"{"message":"Not Found","documentation_url":"https://docs.github.com/rest","status":"404"}"#,
        r#"{"detail": "Rate limit exceeded"}"#,
    ] {
        fs::write(dir.path().join("config.json"), bytes).unwrap();
        refused(bytes, dir.path(), &["config.json", "holds a server's message", "download the file again"]);
        fs::write(dir.path().join("model.safetensors.index.json"), bytes).unwrap();
    }
    let dir = Model::base().write();
    fs::copy(dir.path().join("model.safetensors"), dir.path().join("config.json")).unwrap();
    refused("weights as configuration", dir.path(), &["config.json"]);
    let small = b"\x10\0\0\0\0\0\0\0{\"a\":{}}        ";
    fs::write(dir.path().join("config.json"), small).unwrap();
    refused("weights as configuration", dir.path(), &["config.json", "is a safetensors file"]);
    let dir = Model::base().write();
    fs::copy(dir.path().join("config.json"), dir.path().join("model.safetensors")).unwrap();
    let begins = "is text that begins with";
    refused("configuration as weights", dir.path(), &["model.safetensors", begins, "expected safetensors"]);
    for (text, what) in
        [(r#"{"error":"Repository not found"}"#, "holds a server's message"), (r#"{"weight_map": {"a": "b"}}"#, begins)]
    {
        fs::write(dir.path().join("model.safetensors"), text).unwrap();
        refused(text, dir.path(), &["model.safetensors", what, "download the file again"]);
    }
    fs::write(dir.path().join("model.safetensors"), [0xff; 64]).unwrap();
    refused("bytes as weights", dir.path(), &["model.safetensors", "is no safetensors file", "header of"]);
}

/// What a template may say is no sign of a page or an error.
#[test]
fn templates_may_say_almost_anything() {
    let dir = Model::base().write();
    let source = Source::Directory(dir.path().to_owned());
    for text in [
        "",
        "{{ bos_token }}<html>",
        "Not Found {{ x }}",
        "plain text\nof two lines",
        "{% if a %}../b{% endif %}",
        "\n\n",
    ] {
        fs::write(dir.path().join("chat_template.jinja"), text).unwrap();
        assert_eq!(source.read("chat_template.jinja").unwrap().unwrap(), text.as_bytes(), "{text:?}");
    }
}

#[test]
fn an_unfinished_download_is_named() {
    let model = Model::base();
    let dir = model.write();
    fs::write(dir.path().join("model.safetensors.aria2"), [0; 8]).unwrap();
    refused("aria2", dir.path(), &["model.safetensors\"", "unfinished download"]);
    let dir = model.write();
    fs::rename(dir.path().join("model.safetensors"), dir.path().join("model.safetensors.incomplete")).unwrap();
    refused("incomplete", dir.path(), &["no model.safetensors", "model.safetensors.incomplete", "unfinished download"]);
}
