//! Compiles the XDP program, which `src/af_xdp/program.rs` embeds.

use std::env;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "xdp/sluice_xdp.c";
const HEADER: &str = "xdp/bpf.h";

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-changed={HEADER}");
    println!("cargo:rerun-if-env-changed=CLANG");
    if env::var_os("CARGO_FEATURE_AF_XDP").is_some()
        && let Err(message) = compile()
    {
        println!("cargo::error={message}");
    }
}

fn compile() -> Result<(), String> {
    let out_dir = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this through cargo")?;
    let object = PathBuf::from(out_dir).join("sluice_xdp.o");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    // Debian keeps <asm/types.h> in a directory per architecture, which clang
    // does not search when it compiles for the bpf target.
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let output = Command::new(&clang)
        .args(["-O2", "-g", "-target", "bpf", "-Wall", "-Wextra", "-Werror", "-c", SOURCE])
        .arg(format!("-I/usr/include/{arch}-linux-gnu"))
        .arg("-o")
        .arg(object)
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => format!(
                "`{clang}` was not found; it compiles the XDP program. \
                 Install the Debian package `clang` (apt-get install clang), \
                 or set CLANG to the compiler's path"
            ),
            _ => format!("cannot run `{clang}`: {error}"),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    for line in stderr.lines() {
        println!("cargo::warning={line}");
    }
    let hint = if stderr.contains("linux/") || stderr.contains("asm/") {
        "; the kernel's headers come with the Debian package `linux-libc-dev`"
    } else {
        ""
    };
    Err(format!("{clang} could not compile {SOURCE} ({}){hint}", output.status))
}
