//! Paths as Windows has them, and how messages quote them. All of it is decided from text, so that it is tested everywhere.

use std::io;
use std::path::Path;

/// The device that Windows takes `path` for, whatever folder and ending stand with the name: `C:\models\nul.txt` is `NUL`. Also
/// whatever is asked of the system's own space of names, such as pipes and disks.
pub fn windows_device(path: &Path) -> Option<String> {
    let text = path.to_str()?.replace('/', "\\");
    let lower = text.to_lowercase();
    let is_whole_file = lower
        .strip_prefix(r"\\?\")
        .is_some_and(|rest| rest.starts_with(r"unc\") || rest.as_bytes().get(1) == Some(&b':'));
    let is_pipe = lower.strip_prefix(r"\\").is_some_and(|rest| rest.split('\\').nth(1) == Some("pipe"));
    let is_systems = lower.starts_with(r"\\.\")
        || lower.starts_with(r"\\?\") && !is_whole_file && !lower.starts_with(r"\\?\volume{");
    if is_systems || is_pipe {
        return Some(text);
    }
    // A drive's letter may stand before a name without a folder.
    let text = if text.as_bytes().get(1) == Some(&b':') { &text[2..] } else { &text };
    let last = text.trim_end_matches('\\').rsplit('\\').next()?;
    let stem = last.split(['.', ':']).next()?.trim_end_matches(' ').to_uppercase();
    let is_port = |name: &str| {
        let number = stem.strip_prefix(name).map(str::chars);
        number.is_some_and(|mut rest| matches!(rest.next(), Some('0'..='9' | '¹' | '²' | '³')) && rest.next().is_none())
    };
    let is_device = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$");
    (is_device || is_port("COM") || is_port("LPT")).then_some(stem)
}

/// Fails on Windows for a path that is a device: to open one may wait for ever, or do something.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] with the device's name.
pub fn check_no_device(path: &Path) -> io::Result<()> {
    match windows_device(path).filter(|_| cfg!(windows)) {
        Some(device) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{device} is a device of Windows, expected a file"),
        )),
        None => Ok(()),
    }
}

/// `path` as people write it: Windows' whole paths without the mark that switches their interpretation off.
pub fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    match (text.strip_prefix(r"\\?\UNC\"), text.strip_prefix(r"\\?\")) {
        (Some(share), _) => format!(r"\\{share}"),
        (None, Some(rest)) if rest.as_bytes().get(1) == Some(&b':') => rest.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn windows_devices_are_known_by_any_spelling() {
        let device = |path: &str| windows_device(Path::new(path));
        for path in ["NUL", "nul", "nul.txt", r"C:\models\NUL", "./nul ", "models/nul.tar.gz", "NUL:", r"x\nul\"] {
            assert_eq!(device(path).as_deref(), Some("NUL"), "{path}");
        }
        for (path, name) in
            [("con", "CON"), ("COM1", "COM1"), ("lpt9.json", "LPT9"), ("com².x", "COM²"), ("conin$", "CONIN$")]
        {
            assert_eq!(device(path).as_deref(), Some(name), "{path}");
        }
        assert_eq!((device("C:nul").as_deref(), device("d:con.txt").as_deref()), (Some("NUL"), Some("CON")));
        for path in
            [r"\\.\pipe\x", "//./PhysicalDrive0", r"\\?\pipe\x", r"\\?\GLOBALROOT\Device\Null", r"\\host\pipe\x"]
        {
            assert!(device(path).is_some(), "{path}");
        }
        for path in [
            "null",
            "con2",
            "COM",
            "COM10",
            "COMx",
            "a.nul",
            "model.safetensors",
            "nul/x",
            "",
            r"\\?\C:\a",
            r"\\?\UNC\host\share\x",
            r"\\?\Volume{1}\x",
            r"\\host\share\pipe",
            "C:",
            "C:x",
            "config.json",
        ] {
            assert_eq!(device(path), None, "{path}");
        }
        assert_eq!(check_no_device(Path::new("nul")).is_err(), cfg!(windows));
        check_no_device(Path::new("config.json")).unwrap();
    }

    #[test]
    fn paths_are_shown_as_people_write_them() {
        let shown = |path: &str| shown(Path::new(path));
        assert_eq!(shown(r"\\?\C:\models\x"), r"C:\models\x");
        assert_eq!(shown(r"\\?\UNC\host\share\x"), r"\\host\share\x");
        for path in [r"C:\x", "/models/x", r"\\?\Volume{1}\x", "x"] {
            assert_eq!(shown(path), path);
        }
    }
}
