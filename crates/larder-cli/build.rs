//! Links the program for a fast start: to run at a fixed address where that is safe to ask for, and with one shared library
//! less.
//!
//! A program that may run at any address has each pointer in its read-only data corrected before it begins: here 40,000
//! pointers on 150 pages, each page copied for it, which is a quarter of what `larder --version` takes. With
//! `BUILD_PIE=1` it is built to run at any address (`docs/operating.md` says for whom).
//!
//! What unwinds panics comes with each C compiler as an archive, too. Linked from there it need not be looked for, mapped
//! and bound at each start.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BUILD_PIE");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let target = |of: &str| env::var(format!("CARGO_CFG_TARGET_{of}")).unwrap_or_default();
    if target("OS") != "linux" || target("ENV") != "gnu" || target("FEATURE").contains("crt-static") {
        return;
    }
    if env::var_os("BUILD_PIE").is_none() {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
    if has_unwinder_archive() {
        let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder for what is made"));
        // Found before the shared library, whose name the standard library asks for.
        fs::write(folder.join("libgcc_s.so"), "GROUP(-lgcc_eh -lgcc)\n")
            .expect("the folder can be written to");
        println!("cargo::rustc-link-search=native={}", folder.display());
    }
}

/// Whether the linker has what unwinds panics as an archive. It gives a path where it has, and else the name back.
fn has_unwinder_archive() -> bool {
    // Which linker flags name is theirs to know.
    if env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("linker")) {
        return false;
    }
    let linker = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let asked = Command::new(linker).arg("-print-file-name=libgcc_eh.a").output();
    asked.is_ok_and(|told| Path::new(String::from_utf8_lossy(&told.stdout).trim()).is_absolute())
}
