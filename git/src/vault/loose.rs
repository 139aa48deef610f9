//! One object on the disk, as git lays it out: written beside its place, synced, renamed, its folder synced. Not compressed, for
//! a changing call waits for it; tidying compresses. Reading checks the name. It does not know what the bytes are.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use flate2::read::ZlibDecoder;
use rr_core::bugs::{Bug, is_on};
use rr_core::content::BlobId;
use sha1::{Digest as _, Sha1};
use simd_adler32::Adler32;

use super::{STRIPES, Vault, VaultError, disk_error, locked};
use crate::disk::{Disk, Folder, Rename};

/// What is read from a file or written to one at a time.
pub(super) const PIECE_BYTES: usize = 256 << 10;
/// What [`Vault::bytes`] holds in memory at most: texts that are merged are far below.
pub(super) const BYTES_MAX: u64 = 64 << 20;
/// A folder of objects that changed this shortly before the start may hold names that were never synced.
const UNSETTLED: Duration = Duration::from_secs(600);

/// A blob's name in the making.
pub(super) struct Naming(Sha1);

pub(super) fn naming(size: u64) -> Naming {
    Naming(Sha1::new_with_prefix(header(size)))
}

impl Naming {
    pub(super) fn take_in(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn done(self) -> BlobId {
        BlobId(self.0.finalize().into())
    }
}

/// Git's name for a blob of these bytes.
#[must_use]
pub fn name_of(bytes: &[u8]) -> BlobId {
    let mut naming = naming(bytes.len() as u64);
    naming.take_in(bytes);
    naming.done()
}

fn header(size: u64) -> Vec<u8> {
    format!("blob {size}\0").into_bytes()
}

/// Folder and name below `objects`.
pub(super) fn place_of(blob: BlobId) -> (String, String) {
    let name = blob.to_string();
    (name[..2].to_owned(), name[2..].to_owned())
}

/// Makes sure that every object found here from now on would survive.
pub(super) fn settle(objects: &Path, disk: &dyn Disk) -> Result<(), VaultError> {
    let lately = SystemTime::now() - UNSETTLED;
    let top = Folder::open(objects).map_err(disk_error("open", objects))?;
    for first in 0..=255u8 {
        let name = OsString::from(format!("{first:02x}"));
        let path = objects.join(&name);
        match path.metadata().and_then(|meta| meta.modified()) {
            Ok(at) if at < lately => {}
            Ok(_) => top.sub(&name).and_then(|f| disk.sync_folder(&f)).map_err(disk_error("sync", &path))?,
            Err(_) => disk.make_folder(&top, &name).map_err(disk_error("make", &path))?,
        }
    }
    disk.sync_folder(&top).map_err(disk_error("sync", objects))
}

struct To<'a> {
    disk: &'a dyn Disk,
    file: &'a File,
}

impl Write for To<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(self.file, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes an object's file; false if it has another name than it should.
type Fill<'a> = dyn FnMut(&mut dyn Write) -> io::Result<bool> + 'a;

/// A blob as zlib frames it, in stored blocks: nothing is compressed, so its size is known before.
struct Packed<'a> {
    out: &'a mut dyn Write,
    sum: Adler32,
    /// Bytes to come in all, and in the block that was begun.
    left: u64,
    left_in_block: usize,
}

impl<'a> Packed<'a> {
    fn new(size: u64, out: &'a mut dyn Write) -> io::Result<Self> {
        let head = header(size);
        out.write_all(&[0x78, 0x01])?;
        let mut packed = Self { out, sum: Adler32::new(), left: size + head.len() as u64, left_in_block: 0 };
        packed.put(&head)?;
        Ok(packed)
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.sum.write(bytes);
        while !bytes.is_empty() {
            if self.left_in_block == 0 {
                let len = u16::try_from(self.left).unwrap_or(u16::MAX);
                let is_last = u8::from(u64::from(len) == self.left);
                self.out.write_all(&[is_last])?;
                self.out.write_all(&len.to_le_bytes())?;
                self.out.write_all(&(!len).to_le_bytes())?;
                self.left_in_block = len.into();
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.left_in_block));
            self.out.write_all(now)?;
            self.left -= now.len() as u64;
            self.left_in_block -= now.len();
            bytes = later;
        }
        Ok(())
    }

    fn end(self) -> io::Result<()> {
        self.out.write_all(&self.sum.finish().to_be_bytes())
    }
}

impl Vault {
    pub(super) fn has_loose(&self, blob: BlobId) -> bool {
        let (folder, name) = place_of(blob);
        self.0.objects.join(folder).join(name).exists()
    }

    pub(super) fn store(&self, blob: BlobId, bytes: &[u8]) -> Result<(), VaultError> {
        self.store_by(blob, &mut |out| {
            let mut packed = Packed::new(bytes.len() as u64, out)?;
            packed.put(bytes)?;
            packed.end().map(|()| true)
        })
        .map(drop)
    }

    /// Writes an object from what `from` gives. False, and nothing written, if that has another name.
    pub(super) fn store_stream(&self, blob: BlobId, size: u64, from: &mut dyn Read) -> Result<bool, VaultError> {
        self.store_by(blob, &mut |out| {
            let (mut packed, mut naming) = (Packed::new(size, out)?, naming(size));
            let (mut piece, mut left) = (vec![0; PIECE_BYTES], size);
            while left > 0 {
                let n = Read::take(&mut *from, left).read(&mut piece)?;
                if n == 0 {
                    return Ok(false);
                }
                naming.take_in(&piece[..n]);
                packed.put(&piece[..n])?;
                left -= n as u64;
            }
            packed.end().map(|()| naming.done() == blob)
        })
    }

    fn store_by(&self, blob: BlobId, fill: &mut Fill<'_>) -> Result<bool, VaultError> {
        // Whoever finds it there while it is being written waits until it would survive.
        let _one = locked(&self.0.stripes[usize::from(blob.0[0]) % STRIPES]);
        let (folder, name) = place_of(blob);
        let path = self.0.objects.join(&folder);
        let folder = Folder::open(&path).map_err(disk_error("open", &path))?;
        if folder.has(name.as_ref()) {
            return Ok(true);
        }
        let beside = temporary();
        let done = match self.write_beside(&folder, &beside, fill) {
            Ok(true) => self.put_in_place(&folder, &beside, &OsString::from(name)).map(|()| true),
            other => other,
        };
        if !matches!(done, Ok(true)) {
            // Best effort: git takes what is left over for what it is, and tidying removes it.
            let _ = self.0.disk.remove(&folder, &beside);
        }
        done.map_err(disk_error("write", &path))
    }

    fn write_beside(&self, folder: &Folder, name: &OsString, fill: &mut Fill<'_>) -> io::Result<bool> {
        let disk = self.0.disk.as_ref();
        let file = disk.create(folder, name)?;
        let mut out = io::BufWriter::with_capacity(PIECE_BYTES, To { disk, file: &file });
        if !fill(&mut out)? {
            return Ok(false);
        }
        out.flush()?;
        disk.set_mode(&file, 0o444)?;
        disk.sync(&file)?;
        Ok(true)
    }

    fn put_in_place(&self, folder: &Folder, beside: &OsString, name: &OsString) -> io::Result<()> {
        self.0.disk.rename((folder, beside), (folder, name), Rename::Over)?;
        if is_on(Bug::B15) {
            return Ok(());
        }
        // Not to be found there by the next: it would take it for kept.
        self.0.disk.sync_folder(folder).inspect_err(|_| drop(self.0.disk.remove(folder, name)))
    }

    /// Reads a loose object in pieces. None: there is no such.
    pub(super) fn read_loose(
        &self,
        blob: BlobId,
        to: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Option<Result<(), VaultError>> {
        let (folder, name) = place_of(blob);
        let path = self.0.objects.join(folder).join(name);
        let file = File::open(&path).ok()?;
        Some(unpack(blob, BufReader::with_capacity(PIECE_BYTES, file), to).map_err(|e| match e {
            Unpack::Wrong(why) => VaultError::Damaged { blob, why },
            Unpack::Sink(e) => disk_error("copy", &path)(e),
        }))
    }
}

pub(super) enum Unpack {
    Wrong(String),
    Sink(io::Error),
}

fn unpack(blob: BlobId, from: impl Read, to: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), Unpack> {
    let wrong = |e: &dyn std::fmt::Display| Unpack::Wrong(e.to_string());
    let mut packed = ZlibDecoder::new(from);
    let mut head = Vec::new();
    while head.last() != Some(&0) {
        let mut byte = [0];
        packed.read_exact(&mut byte).map_err(|e| wrong(&e))?;
        head.push(byte[0]);
        if head.len() > 32 {
            return Err(wrong(&"it has no head"));
        }
    }
    let mut hash = Sha1::new_with_prefix(&head);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let n = packed.read(&mut piece).map_err(|e| wrong(&e))?;
        if n == 0 {
            break;
        }
        hash.update(&piece[..n]);
        to(&piece[..n]).map_err(Unpack::Sink)?;
    }
    let is: [u8; 20] = hash.finalize().into();
    if is == blob.0 { Ok(()) } else { Err(wrong(&"its bytes have another name")) }
}

/// As git names what it has not finished.
pub(super) fn temporary() -> OsString {
    let mut bits = [0; 8];
    // Only has to differ from what others of this process and before it use; a clash is an error of the create.
    let _ = getrandom::fill(&mut bits);
    OsString::from(format!("tmp_obj_{}", rr_core::id::hex(&bits)))
}
