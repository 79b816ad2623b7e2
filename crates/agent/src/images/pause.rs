//! The pause image, built by the agent so that a node needs no registry for it.
//!
//! Its process keeps a pod's namespaces alive. It ignores SIGCHLD, so that the kernel reaps
//! children, and sleeps until a signal ends it. If the pod shares its process namespace, it is
//! process 1, for which the kernel drops signals without a handler; then the runtime ends it by
//! SIGKILL.

use serde_json::json;

use super::archive::{Tar, oci_image};

/// The address at which the program is loaded.
const BASE: u64 = 0x40_0000;
/// The size of the file header and one program header in bytes.
const HEADERS: u64 = 64 + 56;

/// What differs between architectures.
struct Architecture {
    /// Its name in images.
    name: &'static str,
    /// Its number in ELF files (`e_machine`).
    machine: u16,
    /// The machine code of the program.
    code: &'static [u8],
}

/// `rt_sigaction(SIGCHLD, &{SIG_IGN, ...}, NULL, 8)`: the kernel then reaps children.
/// Then `pause()` in a loop.
const X86_64: Architecture = Architecture {
    name: "amd64",
    machine: 62,
    code: &[
        0x31, 0xd2, // xor edx, edx           the old action is not returned
        0x52, // push rdx                      mask: nothing blocked meanwhile
        0x52, // push rdx                      restorer: none
        0x52, // push rdx                      flags: none
        0x6a, 0x01, // push 1                  handler: SIG_IGN
        0x48, 0x89, 0xe6, // mov rsi, rsp      the new action is on the stack
        0x6a, 0x08, // push 8
        0x41, 0x5a, // pop r10                 the mask is 8 bytes
        0x6a, 0x11, // push 17
        0x5f, // pop rdi                       SIGCHLD
        0x6a, 0x0d, // push 13
        0x58, // pop rax                       rt_sigaction
        0x0f, 0x05, // syscall
        0x6a, 0x22, // push 34                 <- loop
        0x58, // pop rax                       pause
        0x0f, 0x05, // syscall
        0xeb, 0xf9, // jmp -7
    ],
};

/// The same. `aarch64` has no `pause`; `ppoll(NULL, 0, NULL, NULL)` also sleeps until a signal.
const AARCH64: Architecture = Architecture {
    name: "arm64",
    machine: 183,
    code: &[
        0xff, 0x83, 0x00, 0xd1, // sub sp, sp, #32
        0x28, 0x00, 0x80, 0xd2, // mov x8, #1           SIG_IGN
        0xe8, 0x7f, 0x00, 0xa9, // stp x8, xzr, [sp]    handler, flags
        0xff, 0x7f, 0x01, 0xa9, // stp xzr, xzr, [sp, #16]   restorer, mask
        0x20, 0x02, 0x80, 0xd2, // mov x0, #17          SIGCHLD
        0xe1, 0x03, 0x00, 0x91, // mov x1, sp           the new action
        0x02, 0x00, 0x80, 0xd2, // mov x2, #0           the old action is not returned
        0x03, 0x01, 0x80, 0xd2, // mov x3, #8           the mask is 8 bytes
        0xc8, 0x10, 0x80, 0xd2, // mov x8, #134         rt_sigaction
        0x01, 0x00, 0x00, 0xd4, // svc #0
        0x00, 0x00, 0x80, 0xd2, // mov x0, #0           <- loop
        0x01, 0x00, 0x80, 0xd2, // mov x1, #0
        0x02, 0x00, 0x80, 0xd2, // mov x2, #0
        0x03, 0x00, 0x80, 0xd2, // mov x3, #0
        0x04, 0x00, 0x80, 0xd2, // mov x4, #0
        0x28, 0x09, 0x80, 0xd2, // mov x8, #73          ppoll
        0x01, 0x00, 0x00, 0xd4, // svc #0
        0xf9, 0xff, 0xff, 0x17, // b -7 instructions
    ],
};

const fn architecture() -> &'static Architecture {
    if cfg!(target_arch = "aarch64") {
        &AARCH64
    } else {
        &X86_64
    }
}

/// The ELF file: file header, one program header for the whole file, machine code.
fn program(architecture: &Architecture) -> Vec<u8> {
    let size = HEADERS + architecture.code.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(2_u16.to_le_bytes()); // an executable
    file.extend(architecture.machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes()); // version
    file.extend((BASE + HEADERS).to_le_bytes()); // entry point
    file.extend(64_u64.to_le_bytes()); // offset of the program headers
    file.extend(0_u64.to_le_bytes()); // no section headers
    file.extend(0_u32.to_le_bytes()); // flags
    for half in [64_u16, 56, 1, 64, 0, 0] {
        file.extend(half.to_le_bytes()); // sizes and counts of the headers
    }
    file.extend(1_u32.to_le_bytes()); // a segment to load
    file.extend(5_u32.to_le_bytes()); // readable and executable
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(word.to_le_bytes()); // offset, addresses, sizes, alignment
    }
    file.extend(architecture.code);
    file
}

/// The pause image as an OCI archive.
#[must_use]
pub(crate) fn archive(name: &str) -> Vec<u8> {
    let architecture = architecture();
    let mut layer = Tar::default();
    layer.file("pause", 0o755, &program(architecture));
    let config = json!({ "Entrypoint": ["/pause"], "User": "65535:65535" });
    oci_image(name, architecture.name, &config, &layer.finish())
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _, time::Duration};

    use super::{architecture, program};

    #[test]
    fn the_pause_program_ignores_sigchld_and_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pause");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .create(true)
            .write(true)
            .mode(0o755)
            .open(&path)
            .unwrap();
        file.write_all(&program(architecture())).unwrap();
        drop(file);
        let mut child = std::process::Command::new(&path).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(child.try_wait().unwrap(), None, "it does not end by itself");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let ignored = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))
            .unwrap();
        let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
        assert_ne!(ignored & (1 << 16), 0, "SIGCHLD is ignored");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
