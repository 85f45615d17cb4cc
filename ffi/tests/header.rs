//! `chronik.h` and the code say the same.

use chronik::completion::{COMPLETION_BYTES, FLAG_RESULT};
use chronik::jobs::batch::INFO_BYTES;
use chronik::status::Status;
use chronik::submit::{COMMAND_BYTES, OPERAND_BYTES};

const HEADER: &str = include_str!("../chronik.h");

fn struct_bytes(name: &str) -> usize {
    let start = HEADER.find(&format!("struct {name} {{")).expect(name);
    let body = &HEADER[start..];
    let body = &body[..body.find("};").expect("end of struct")];
    let fields = body.lines().skip(1).filter_map(|line| {
        let kind = line.trim().split_once("_t ")?.0;
        let bits: String = kind.chars().filter(char::is_ascii_digit).collect();
        Some(bits.parse::<usize>().expect("width") / 8)
    });
    fields.sum()
}

#[test]
fn statuses() {
    for (name, status) in Status::ALL {
        let line = HEADER
            .lines()
            .find(|line| line.trim().starts_with(&format!("CHRONIK_{name} =")))
            .unwrap_or_else(|| panic!("{name} is not in the header"));
        let value = line.split_once('=').expect("value").1.trim();
        let end = value
            .find(|c: char| c != '-' && !c.is_ascii_digit())
            .unwrap_or(value.len());
        assert_eq!(value[..end].parse::<i32>(), Ok(status.code()), "{name}");
    }
    let start = HEADER.find("enum chronik_status").expect("enum");
    let body = &HEADER[start..start + HEADER[start..].find("};").expect("end")];
    let listed = body
        .lines()
        .filter(|line| line.trim().starts_with("CHRONIK_"))
        .count();
    assert_eq!(listed, Status::ALL.len(), "a status only the header knows");
}

#[test]
fn struct_sizes() {
    assert_eq!(struct_bytes("chronik_command"), COMMAND_BYTES);
    assert_eq!(struct_bytes("chronik_append"), OPERAND_BYTES);
    assert_eq!(struct_bytes("chronik_read_range"), OPERAND_BYTES);
    assert_eq!(struct_bytes("chronik_completion"), COMPLETION_BYTES);
    assert_eq!(struct_bytes("chronik_batch_info"), INFO_BYTES);
    assert_eq!(FLAG_RESULT, 1);
    let folded = 2 | (24 << 8) | (40 << 16) | (24 << 24);
    assert_eq!(chronik::abi::chronik_abi(), folded);
}

#[test]
fn every_job_is_described() {
    let start = HEADER.find("/* Jobs (CHRONIK_OP_JOB)").expect("jobs");
    let described = &HEADER[start..];
    let job = br#"{"op":"?"}"#;
    let mut payload = (job.len() as u32).to_le_bytes().to_vec();
    payload.extend_from_slice(job);
    let Err(error) = chronik::jobs::parse(&payload, 0) else {
        panic!("job ? exists")
    };
    let names: Vec<_> = error.text.split('`').skip(3).step_by(2).collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        assert!(described.contains(name), "{name} is not in the header");
    }
}
