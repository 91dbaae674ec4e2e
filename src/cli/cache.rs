//! Where what can be made again is kept.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The user's cache folder for this program, which need not be there; `None` where `LAPIDARY_NO_CACHE` is set or there is
/// no such place.
pub(super) fn folder() -> Option<PathBuf> {
    choose(&|name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn choose(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if variable("LAPIDARY_NO_CACHE").is_some() {
        return None;
    }
    let path = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = if cfg!(windows) {
        path("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        path("HOME").map(|home| home.join("Library/Caches"))
    } else {
        path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache")))
    };
    folder.map(|folder| folder.join("lapidary"))
}

#[cfg(all(test, unix, not(target_os = "macos")))]
mod tests {
    use super::*;

    #[test]
    fn the_desktop_s_rules_hold() {
        let choose = |set: &[(&str, &str)]| {
            choose(&|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        let (home, xdg) = (("HOME", "/home/x"), ("XDG_CACHE_HOME", "/cache"));
        assert_eq!(choose(&[home]), Some("/home/x/.cache/lapidary".into()));
        assert_eq!(choose(&[home, xdg]), Some("/cache/lapidary".into()));
        // The specification says that relative paths are ignored.
        assert_eq!(choose(&[home, ("XDG_CACHE_HOME", "cache")]), Some("/home/x/.cache/lapidary".into()));
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&[home, xdg, ("LAPIDARY_NO_CACHE", "1")]), None);
    }
}
