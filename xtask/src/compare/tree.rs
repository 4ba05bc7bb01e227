//! The trees that tools are compared on: packages with sources, and a script in each that builds its outputs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// What a tree looks like.
pub(super) struct Shape {
    pub(super) letter: char,
    pub(super) title: &'static str,
    packages: usize,
    /// In each package.
    directories: usize,
    /// In each directory.
    files: usize,
    script: &'static str,
    /// Of each package.
    outputs: usize,
}

const FILE_BYTES: usize = 4 << 10;

/// Writes one output of 20 KiB. It reads only a few of the sources, so that what is measured after an edit is the
/// tools and not the script.
const ONE_OUTPUT: &str = "mkdir -p dist\ncat src/module_00/source_0[0-4].txt > dist/out.txt\n";

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        letter: 'A',
        title: "100 packages of 50 files of 4 KiB, each with one output of 20 KiB",
        packages: 100,
        directories: 5,
        files: 10,
        script: ONE_OUTPUT,
        outputs: 1,
    },
    Shape {
        letter: 'B',
        title: "1 package of 10,000 files of 4 KiB, with one output of 20 KiB",
        packages: 1,
        directories: 100,
        files: 100,
        script: ONE_OUTPUT,
        outputs: 1,
    },
    Shape {
        letter: 'C',
        title: "1 package of 100 files of 4 KiB, with 100 outputs of 20 KiB",
        packages: 1,
        directories: 1,
        files: 100,
        script: "mkdir -p dist\n\
                 cat src/*/* src/*/* src/*/* src/*/* src/*/* | split -b 20480 -d -a 2 - dist/part_\n",
        outputs: 100,
    },
];

/// One task that takes 100 ms.
pub(super) const SLOW: Shape = Shape {
    letter: 'S',
    title: "1 package of 50 files of 4 KiB, whose task takes 100 ms",
    packages: 1,
    directories: 5,
    files: 10,
    script: "sleep 0.1\nmkdir -p dist\ncat src/module_00/source_0[0-4].txt > dist/out.txt\n",
    outputs: 1,
};

/// A tree on disk.
pub(super) struct Tree {
    shape: &'static Shape,
    pub(super) root: PathBuf,
}

impl Tree {
    /// Writes the tree of `shape` below `root`.
    pub(super) fn write(shape: &'static Shape, root: &Path) -> Result<Self> {
        let tree = Self { shape, root: root.to_owned() };
        for package in 0..shape.packages {
            for source in tree.sources(package) {
                let path = tree.root.join(&source);
                fs::create_dir_all(path.parent().context("a source has a parent")?)?;
                fs::write(path, content(&source))?;
            }
            fs::write(tree.root.join(directory(package)).join("build.sh"), shape.script)?;
        }
        Ok(tree)
    }

    /// Directories of the packages, relative to the root.
    pub(super) fn packages(&self) -> impl Iterator<Item = String> {
        (0..self.shape.packages).map(directory)
    }

    /// The sources of a package, relative to the root.
    pub(super) fn sources(&self, package: usize) -> impl Iterator<Item = String> {
        let Shape { directories, files, .. } = *self.shape;
        (0..directories).flat_map(move |module| {
            (0..files).map(move |file| {
                format!("{}/src/module_{module:02}/source_{file:02}.txt", directory(package))
            })
        })
    }

    /// The outputs of a package, relative to the root.
    pub(super) fn output_paths(&self, package: usize) -> Vec<String> {
        let dist = format!("{}/dist", directory(package));
        match self.shape.outputs {
            1 => vec![format!("{dist}/out.txt")],
            count => (0..count).map(|file| format!("{dist}/part_{file:02}")).collect(),
        }
    }

    /// What the outputs are.
    pub(super) fn outputs(&self) -> Result<Vec<Vec<u8>>> {
        let paths = (0..self.shape.packages).flat_map(|package| self.output_paths(package));
        let read = |path: String| fs::read(self.root.join(&path)).with_context(|| format!("output {path}"));
        paths.map(read).collect()
    }

    /// Takes the outputs away, to a place of their own for each round. They are not deleted: a file system that looks
    /// for an inode may pass by all that were in use a moment ago, so that a hundred deletions round after round would
    /// be what is measured.
    pub(super) fn take_outputs_away(&self, round: usize) -> Result<()> {
        let away = self.root.with_extension(format!("outputs-{round}"));
        fs::create_dir_all(&away)?;
        for (number, package) in self.packages().enumerate() {
            fs::rename(self.root.join(package).join("dist"), away.join(number.to_string()))?;
        }
        Ok(())
    }

    /// Changes one source, to something else each round, without changing its length.
    pub(super) fn edit(&self, round: usize) -> Result<()> {
        let path = self.edited();
        Ok(fs::write(self.root.join(&path), content(&format!("{path} in round {round}")))?)
    }

    /// The first source of a package in the middle, which every script reads.
    fn edited(&self) -> String {
        self.sources(self.shape.packages / 2).next().unwrap_or_default()
    }

    /// The task of the package that is edited, started as larder starts it: by the same shell, in the same place, and
    /// with as little in its environment.
    pub(super) fn task(&self) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "sh ./build.sh"]).current_dir(self.root.join(directory(self.shape.packages / 2)));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }
}

fn directory(package: usize) -> String {
    format!("packages/package_{package:03}")
}

/// 4 KiB of lines that are not the same in any two files.
fn content(name: &str) -> Vec<u8> {
    let mut content = format!("{name}\n").into_bytes();
    let mut state = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    while content.len() < FILE_BYTES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        content.extend_from_slice(format!("{:016x}\n", state).as_bytes());
    }
    content.truncate(FILE_BYTES);
    content
}
