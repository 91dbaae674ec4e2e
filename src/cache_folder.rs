//! Where what can be made again is kept: compiled pipelines, and what is known of adapters.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The user's cache folder for this program, which need not be there; `None` where `LAPIDARY_NO_CACHE` is set or there is
/// no such place, as in a browser.
pub fn cache_folder() -> Option<PathBuf> {
    choose(env::consts::OS, &|name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn choose(system: &str, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if variable("LAPIDARY_NO_CACHE").is_some() {
        return None;
    }
    let path = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = match system {
        // Not the folder that follows the user from machine to machine: what is kept is of this machine's adapters.
        "windows" => path("LOCALAPPDATA"),
        "macos" => path("HOME").map(|home| home.join("Library/Caches")),
        _ => path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache"))),
    };
    folder.map(|folder| folder.join("lapidary"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_desktop_s_rules_hold() {
        let on = |system, set: &[(&str, &str)]| {
            choose(system, &|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        let choose = |set: &[(&str, &str)]| on("linux", set);
        let (home, xdg) = (("HOME", "/home/x"), ("XDG_CACHE_HOME", "/cache"));
        assert_eq!(choose(&[home]), Some("/home/x/.cache/lapidary".into()));
        assert_eq!(choose(&[home, xdg]), Some("/cache/lapidary".into()));
        // The specification says that relative paths are ignored.
        assert_eq!(choose(&[home, ("XDG_CACHE_HOME", "cache")]), Some("/home/x/.cache/lapidary".into()));
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&[home, xdg, ("LAPIDARY_NO_CACHE", "1")]), None);
        assert_eq!(on("macos", &[home, xdg]), Some("/home/x/Library/Caches/lapidary".into()));
        let local = ("LOCALAPPDATA", "/users/x/local");
        assert_eq!(on("windows", &[home, xdg, local]), Some("/users/x/local/lapidary".into()));
        assert_eq!(on("windows", &[home, xdg]), None);
    }
}
