//! Which compiler turns HLSL into what DX12 runs: DXC out of a dxcompiler.dll, or the FXC that is part of Windows.
//!
//! wgpu would take a dxcompiler.dll from wherever the system finds one, the current folder included, and would not say which.
//! Here it is looked for first, so that it can be said, and so that a folder with a model in it cannot bring a library.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

const DXC: &str = "dxcompiler.dll";
const FXC: &str = "d3dcompiler_47.dll";
/// Where DXC is published.
const RELEASES: &str = "https://github.com/microsoft/DirectXShaderCompiler/releases";

/// The compiler of a DX12 adapter's shaders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// DXC, in this file.
    Dxc(PathBuf),
    /// FXC, whose shader model 5.1 has neither f16, subgroups nor integer dot products; and the dxcompiler.dll that was found
    /// all the same but does not work for this adapter, if any.
    Fxc(Option<PathBuf>),
}

impl Compiler {
    /// What to do for the tiers and features that FXC does not have, `None` where DXC is in use.
    pub fn remedy(&self) -> Option<String> {
        let folder = program_folder().map_or("the program's folder".to_owned(), |folder| folder.display().to_string());
        match self {
            Compiler::Dxc(_) => None,
            Compiler::Fxc(None) => Some(format!("put {DXC} into {folder}")),
            Compiler::Fxc(Some(found)) => Some(format!(
                "{} cannot be used: it is broken or too old, or the driver has no shader model 6; take that of a newer release, or \
                 a newer driver",
                found.display()
            )),
        }
    }

    /// What `lapidary devices` says of it: lines.
    pub fn describe(&self) -> Vec<String> {
        match (self, self.remedy()) {
            (Compiler::Dxc(found), _) => vec![format!("DXC, from {}", found.display())],
            (Compiler::Fxc(found), remedy) => vec![
                "FXC, which is part of Windows: neither f16, subgroups nor integer dot products, so tier plain only"
                    .into(),
                match (found, remedy.unwrap_or_default()) {
                    (None, remedy) => format!("for DXC, which has them and with them tier dot: {remedy}"),
                    (Some(_), remedy) => format!("DXC would have them and with them tier dot, but {remedy}"),
                },
                format!("{DXC} 1.8.2502 or later (dxil.dll is not needed): {RELEASES}, or npm's package webgpu"),
            ],
        }
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compiler::Dxc(found) => write!(f, "DXC, {}", found.display()),
            Compiler::Fxc(None) => f.write_str("FXC"),
            Compiler::Fxc(Some(found)) => write!(f, "FXC, not {}", found.display()),
        }
    }
}

/// Folders that libraries are taken from, and the variables that name some.
struct Places<'a> {
    program: Option<PathBuf>,
    path: Option<&'a OsStr>,
    system_root: Option<PathBuf>,
    is_file: &'a dyn Fn(&Path) -> bool,
}

impl Places<'_> {
    /// The first `name` in the program's folder, or in one that PATH names from the root on.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let listed = self.path.into_iter().flat_map(env::split_paths).filter(|folder| folder.is_absolute());
        self.program.iter().cloned().chain(listed).map(|folder| folder.join(name)).find(|file| (self.is_file)(file))
    }

    /// Why DX12 has no compiler at all, if that is so.
    fn trouble(&self) -> Option<String> {
        let system = self.system_root.as_ref().map(|root| root.join("System32"));
        let is_there = self.find(DXC).is_some()
            || self.find(FXC).is_some()
            || system.as_ref().is_some_and(|folder| (self.is_file)(&folder.join(FXC)));
        let system = system.map_or("the system's folder".to_owned(), |folder| folder.display().to_string());
        (!is_there).then(|| {
            format!(
                "DX12 has no compiler for shaders: neither {FXC}, which is part of Windows, is in {system}, nor {DXC} in the \
                 program's folder ({RELEASES})"
            )
        })
    }
}

fn program_folder() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.parent()?.to_owned())
}

fn with_places<T>(look: impl FnOnce(Places<'_>) -> T) -> T {
    let path = env::var_os("PATH");
    look(Places {
        program: program_folder(),
        path: path.as_deref(),
        system_root: env::var_os("SystemRoot").map(PathBuf::from),
        is_file: &|file| file.is_file(),
    })
}

/// The dxcompiler.dll that is taken; wgpu takes its path as text.
pub(super) fn find_dxc() -> Option<PathBuf> {
    with_places(|places| places.find(DXC)).filter(|path| path.to_str().is_some())
}

/// Why DX12 offers no adapter, where that is for want of a compiler; `None` on other systems than Windows.
pub(super) fn trouble() -> Option<String> {
    if cfg!(windows) { with_places(|places| places.trouble()) } else { None }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// What is found where these files are, with the program in /program and a PATH of some folders.
    fn with<T>(files: &[&str], look: impl FnOnce(Places<'_>) -> T) -> T {
        let path = env::join_paths(["/tools", "here", "/sdk"]).unwrap();
        look(Places {
            program: Some("/program".into()),
            path: Some(&path),
            system_root: Some("/windows".into()),
            is_file: &|file| files.contains(&file.to_str().unwrap()),
        })
    }

    #[test]
    fn dxc_is_taken_from_the_program_s_folder_or_path() {
        let find = |files: &[&str]| with(files, |places| places.find(DXC));
        assert_eq!(find(&[]), None);
        assert_eq!(find(&["/sdk/dxcompiler.dll"]), Some("/sdk/dxcompiler.dll".into()));
        let both = ["/sdk/dxcompiler.dll", "/program/dxcompiler.dll"];
        assert_eq!(find(&both), Some("/program/dxcompiler.dll".into()));
        // Relative to the current folder, which may be anybody's.
        assert_eq!(find(&["here/dxcompiler.dll", "dxcompiler.dll"]), None);
    }

    #[test]
    fn a_missing_compiler_is_said() {
        let trouble = |files: &[&str]| with(files, |places| places.trouble());
        let system = PathBuf::from("/windows").join("System32").join(FXC);
        for file in [system.to_str().unwrap(), "/program/d3dcompiler_47.dll", "/tools/dxcompiler.dll"] {
            assert_eq!(trouble(&[file]), None);
        }
        let said = trouble(&["here/d3dcompiler_47.dll"]).unwrap();
        assert!(said.contains(FXC) && said.contains(DXC) && said.contains("System32"), "{said}");
        assert_eq!(super::trouble().is_some(), cfg!(windows) && with_places(|places| places.trouble()).is_some());
    }

    #[test]
    fn fxc_comes_with_a_remedy() {
        let [dxc, fxc] = [Compiler::Dxc("/x/dxcompiler.dll".into()), Compiler::Fxc(None)];
        let broken = Compiler::Fxc(Some("/x/dxcompiler.dll".into()));
        assert_eq!(dxc.remedy(), None);
        assert!(fxc.remedy().unwrap().starts_with("put dxcompiler.dll into "));
        assert!(broken.remedy().unwrap().starts_with("/x/dxcompiler.dll cannot be used"));
        assert_eq!(dxc.describe(), ["DXC, from /x/dxcompiler.dll"]);
        assert!(fxc.describe()[0].contains("tier plain only") && fxc.describe()[2].contains(RELEASES));
        assert_eq!(
            [dxc, fxc, broken].map(|compiler| compiler.to_string()),
            ["DXC, /x/dxcompiler.dll", "FXC", "FXC, not /x/dxcompiler.dll"]
        );
    }
}
