//! Status codes of the boundary, 1:1 with `chronik.h` and `src/native/abi.ts`.

/// 0 = ok, negative = error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Status {
    Ok = 0,
    Internal = -1,
    InvalidArgument = -2,
    Busy = -3,
    Poisoned = -4,
    NoSpace = -5,
    Io = -6,
    Corrupt = -7,
    Locked = -8,
    NotFound = -9,
    Exists = -10,
    UnknownVersion = -11,
    TooLarge = -12,
    OutOfRange = -13,
    Damaged = -14,
    Closed = -15,
    BatchCrc = -32,
    BatchMagic = -33,
    BatchLength = -34,
    BatchCount = -35,
    BatchAttributes = -36,
    BatchRecords = -37,
    BatchTooLarge = -38,
}

impl Status {
    /// Every status with the name it has in `chronik.h` (without the `CHRONIK_` prefix).
    pub const ALL: [(&'static str, Status); 23] = [
        ("OK", Status::Ok),
        ("INTERNAL", Status::Internal),
        ("INVALID_ARGUMENT", Status::InvalidArgument),
        ("BUSY", Status::Busy),
        ("POISONED", Status::Poisoned),
        ("NO_SPACE", Status::NoSpace),
        ("IO", Status::Io),
        ("CORRUPT", Status::Corrupt),
        ("LOCKED", Status::Locked),
        ("NOT_FOUND", Status::NotFound),
        ("EXISTS", Status::Exists),
        ("UNKNOWN_VERSION", Status::UnknownVersion),
        ("TOO_LARGE", Status::TooLarge),
        ("OUT_OF_RANGE", Status::OutOfRange),
        ("DAMAGED", Status::Damaged),
        ("CLOSED", Status::Closed),
        ("BATCH_CRC", Status::BatchCrc),
        ("BATCH_MAGIC", Status::BatchMagic),
        ("BATCH_LENGTH", Status::BatchLength),
        ("BATCH_COUNT", Status::BatchCount),
        ("BATCH_ATTRIBUTES", Status::BatchAttributes),
        ("BATCH_RECORDS", Status::BatchRecords),
        ("BATCH_TOO_LARGE", Status::BatchTooLarge),
    ];

    /// The number that crosses the boundary.
    pub fn code(self) -> i32 {
        self as i32
    }
}

/// What an operating-system error means for the caller.
pub fn status_of_io(error: &std::io::Error) -> Status {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => Status::NotFound,
        ErrorKind::AlreadyExists => Status::Exists,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Status::NoSpace,
        ErrorKind::InvalidInput => Status::InvalidArgument,
        _ => Status::Io,
    }
}
