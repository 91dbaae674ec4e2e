//! Writes what naga makes of every shader, with sets of constants that presets make, as devices of an API get it.
//!   translations fxc FOLDER [all]     HLSL of shader model 5.1: the plain tier
//!   translations dxc FOLDER [all]     HLSL of 6.0, 6.2 and 6.6: all but cooperative matrices
//!   translations msl FOLDER [all]     Metal's language: all but matrices of 16 rows, which Metal has not
//! One file each, `index` tells which pipelines they are. Sets of constants that leave the same text are one file; without
//! `all`, of the sets of a text only such as bring a value that no earlier one has.

#[path = "../fleet/keys.rs"]
mod keys;
#[path = "planned.rs"]
mod planned;
#[path = "texts.rs"]
mod texts;
#[path = "writers.rs"]
mod writers;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use lapidary::gpu::Kind;
use lapidary::testing::gpu::{Imagined, has_bounds_checks};
use naga::back::hlsl::ShaderModel;
use naga::proc::BoundsCheckPolicy;
use texts::{Case, Text, for_each_text, has_matrices, texts};
use writers::{least_model, to_hlsl, to_msl};

/// Values of constants, by the text that has them.
type Values = HashSet<(String, &'static str, u32)>;

/// Files of a folder, each text once.
struct Files {
    folder: PathBuf,
    /// What the sets so far have brought; `None` where all are wanted.
    met: Option<Values>,
    written: HashSet<String>,
    index: String,
}

impl Files {
    fn new(folder: &Path, all: bool) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let met = (!all).then(Values::new);
        Ok(Files { folder: folder.to_owned(), met, written: HashSet::new(), index: String::new() })
    }

    /// Whether a set of constants brings something new to its text.
    fn is_new(&mut self, name: &str, constants: &[(&'static str, u32)]) -> bool {
        let Some(met) = &mut self.met else { return true };
        let mut new = met.insert((name.to_owned(), "", 0));
        constants.iter().for_each(|&(constant, value)| new |= met.insert((name.to_owned(), constant, value)));
        new
    }

    /// Writes the texts of one pipeline, each with the end of its file's name, unless the first one is there already.
    fn add(&mut self, what: &str, texts: Vec<(&str, String)>) -> io::Result<()> {
        let Some((_, first)) = texts.first() else { return Ok(()) };
        if !self.written.insert(first.clone()) {
            return Ok(());
        }
        let number = self.written.len();
        self.index += &format!("{number:04} {what}\n");
        texts.iter().try_for_each(|(end, text)| fs::write(self.folder.join(format!("{number:04}.{end}")), text))
    }

    fn finish(self) -> io::Result<()> {
        println!("{} texts", self.written.len());
        fs::write(self.folder.join("index"), self.index)
    }
}

/// Gives `translate` each set of constants that brings something new, of the texts that are `wanted`, and writes what it
/// makes of them: the ends of files' names, and texts. Parameters come with the commands, as DX12 and Metal have them, or in
/// a uniform buffer, as they do without `immediates`.
fn write_each(
    files: &mut Files,
    planned: &planned::All,
    immediates: bool,
    wanted: impl Fn(&Text) -> bool,
    translate: impl Fn(&Text, &Case) -> Vec<(&'static str, String)>,
) -> io::Result<()> {
    for text in texts().map(|text| Text { immediates, ..text }).filter(wanted) {
        let name = texts::name(&text);
        let sets = planned::of(planned, &text).iter().filter(|set| files.is_new(&name, &set.constants));
        let sets: Vec<_> = sets.cloned().collect();
        let mut written = Ok(());
        for_each_text(&text, &sets, |case| {
            if written.is_ok() {
                written = files.add(case.what, translate(&text, case));
            }
        });
        written?;
    }
    Ok(())
}

fn fxc(files: &mut Files) -> io::Result<()> {
    let is_cpu = |kind: &Kind| *kind == Kind::Cpu;
    let (cpu, cards): (Vec<Kind>, Vec<Kind>) = Kind::ALL.into_iter().partition(is_cpu);
    // What a table brings has to be tried again with another way of code: all indices checked, and parameters in a uniform
    // buffer, for which the shaders of one table are enough.
    for (kinds, immediates) in [(&cards[..], true), (&cpu, true), (&[Kind::Unknown], false)] {
        files.met = files.met.as_ref().map(|_| Values::new());
        let planned = planned::plan(&[Imagined::FXC], kinds);
        write_each(
            files,
            &planned,
            immediates,
            |_| true,
            |text, Case { what, module, info, .. }| {
                let checks = has_bounds_checks(text.stem, kinds.iter().all(is_cpu));
                vec![("hlsl", to_hlsl(what, module, info, ShaderModel::V5_1, checks))]
            },
        )?;
    }
    Ok(())
}

fn dxc(files: &mut Files) -> io::Result<()> {
    // DX12 has no cooperative matrices.
    let models = [(ShaderModel::V6_6, "66.hlsl"), (ShaderModel::V6_2, "62.hlsl"), (ShaderModel::V6_0, "60.hlsl")];
    write_each(
        files,
        &planned::PLANNED,
        true,
        |text| !has_matrices(text),
        |text, Case { what, module, info, .. }| {
            let checks = has_bounds_checks(text.stem, false);
            let fitting = models.into_iter().filter(|(model, _)| *model >= least_model(text));
            fitting.map(|(model, end)| (end, to_hlsl(what, module, info, model, checks))).collect()
        },
    )
}

fn msl(files: &mut Files) -> io::Result<()> {
    let has_16 = |text: &Text| text.variant.contains("matrix16");
    write_each(
        files,
        &planned::PLANNED,
        true,
        |text| !has_16(text),
        |text, Case { what, module, info, .. }| {
            let checks = has_bounds_checks(text.stem, false);
            let policy = if checks { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
            vec![("metal", to_msl(what, module, info, policy))]
        },
    )
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (write, folder, all): (fn(&mut Files) -> io::Result<()>, _, _) = match arguments.as_slice() {
        ["fxc", folder, all @ ..] => (fxc, folder, all),
        ["dxc", folder, all @ ..] => (dxc, folder, all),
        ["msl", folder, all @ ..] => (msl, folder, all),
        _ => {
            eprintln!("expected fxc, dxc or msl, and a folder");
            return ExitCode::FAILURE;
        }
    };
    let files = Files::new(Path::new(folder), all == ["all"]);
    if let Err(error) = files.and_then(|mut files| write(&mut files).and_then(|()| files.finish())) {
        eprintln!("{folder}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
