//! Writes what naga makes of every shader, with each set of constants that presets make, as devices of an API get it.
//!   translations fxc FOLDER     HLSL of shader model 5.1: the plain tier
//!   translations dxc FOLDER     HLSL of 6.0, 6.2 and 6.6: all but cooperative matrices
//!   translations msl FOLDER     Metal's language: all
//! One file each, `index` tells which pipelines they are; sets of constants that leave the same text are one file.

#[path = "../fleet/keys.rs"]
mod keys;
#[path = "planned.rs"]
mod planned;
#[path = "texts.rs"]
mod texts;
#[path = "writers.rs"]
mod writers;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use lapidary::gpu::{Imagined, Kind, has_bounds_checks};
use naga::back::hlsl::ShaderModel;
use naga::proc::BoundsCheckPolicy;
use texts::{Case, Text, for_each_text, has_matrices, texts};
use writers::{least_model, to_hlsl, to_msl};

/// Files of a folder, each text once.
struct Files {
    folder: PathBuf,
    written: HashMap<String, usize>,
    index: String,
}

impl Files {
    fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Files { folder: folder.to_owned(), written: HashMap::new(), index: String::new() })
    }

    /// Writes the texts of one pipeline, each with the end of its file's name, unless the first one is there already.
    fn add(&mut self, what: &str, texts: Vec<(&str, String)>) -> io::Result<()> {
        let Some((_, first)) = texts.first() else { return Ok(()) };
        if self.written.contains_key(first) {
            return Ok(());
        }
        let number = self.written.len();
        self.index += &format!("{number:04} {what}\n");
        for (end, text) in &texts {
            fs::write(self.folder.join(format!("{number:04}.{end}")), text)?;
        }
        self.written.insert(first.clone(), number);
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        println!("{} texts in {}", self.written.len(), self.folder.display());
        fs::write(self.folder.join("index"), self.index)
    }
}

/// Texts as devices with parameters beside the commands get them, which DX12 and Metal always have.
fn all_texts() -> impl Iterator<Item = Text> {
    texts().map(|text| Text { immediates: true, ..text })
}

fn for_each_planned(
    planned: &planned::All,
    wanted: impl Fn(&Text) -> bool,
    mut each: impl FnMut(&Text, &Case) -> io::Result<()>,
) -> io::Result<()> {
    let mut result = Ok(());
    for text in all_texts().filter(wanted) {
        for_each_text(&text, planned::of(planned, &text), |case| {
            if result.is_ok() {
                result = each(&text, case);
            }
        });
    }
    result
}

fn fxc(files: &mut Files) -> io::Result<()> {
    let (cpu, cards): (Vec<Kind>, Vec<Kind>) = Kind::ALL.into_iter().partition(|kind| *kind == Kind::Cpu);
    for (kinds, is_cpu) in [(cards, false), (cpu, true)] {
        let planned = planned::plan(&[Imagined::FXC], &kinds);
        for_each_planned(
            &planned,
            |_| true,
            |text, Case { what, module, info, .. }| {
                let checks = has_bounds_checks(text.stem, is_cpu);
                files.add(what, vec![("hlsl", to_hlsl(what, module, info, ShaderModel::V5_1, checks))])
            },
        )?;
    }
    Ok(())
}

fn dxc(files: &mut Files) -> io::Result<()> {
    // DX12 has no cooperative matrices.
    let models = [(ShaderModel::V6_0, "60.hlsl"), (ShaderModel::V6_2, "62.hlsl"), (ShaderModel::V6_6, "66.hlsl")];
    for_each_planned(
        &planned::PLANNED,
        |text| !has_matrices(text),
        |text, Case { what, module, info, .. }| {
            let checks = has_bounds_checks(text.stem, false);
            let fitting = models.into_iter().filter(|(model, _)| *model >= least_model(text));
            files.add(what, fitting.map(|(model, end)| (end, to_hlsl(what, module, info, model, checks))).collect())
        },
    )
}

fn msl(files: &mut Files) -> io::Result<()> {
    for_each_planned(
        &planned::PLANNED,
        |_| true,
        |text, Case { what, module, info, .. }| {
            let checks = has_bounds_checks(text.stem, false);
            let policy = if checks { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
            files.add(what, vec![("metal", to_msl(what, module, info, policy))])
        },
    )
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [which, folder] = arguments.as_slice() else {
        eprintln!("expected fxc, dxc or msl, and a folder");
        return ExitCode::FAILURE;
    };
    let write = match which.as_str() {
        "fxc" => fxc,
        "dxc" => dxc,
        "msl" => msl,
        other => {
            eprintln!("\"{other}\", expected fxc, dxc or msl");
            return ExitCode::FAILURE;
        }
    };
    let written = Files::new(Path::new(folder)).and_then(|mut files| write(&mut files).and_then(|()| files.finish()));
    if let Err(error) = written {
        eprintln!("{folder}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
