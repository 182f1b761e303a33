// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: io
//
// Files that do not make you wait: whole files read and written in the background by threads of errand's own. Each call
// returns at once with a future, which threads, tasks and coroutines wait for as for any other.
#pragma once

#include <errand/detail/file.hpp>
#include <errand/detail/file_writer.hpp>
#include <errand/detail/lines.hpp>
#include <errand/detail/whole_file.hpp>

namespace errand {

/// The contents of a file, all of it up to the end as it is when that is reached: also of a file that grows or shrinks
/// meanwhile, and of those of /proc, which say that they are empty. A FIFO, a terminal or another device is read to its end on
/// a thread of its own, as at `blocking`.
///
/// Never waits. get() throws std::filesystem::filesystem_error with the path and the system's error, std::bad_alloc if there
/// is no memory for so much. A stop, also that of a dropped future, ends it soon, even where it waits for others to write.
/// A relative path means the current directory at the time of the call. Throws std::bad_alloc.
/// Any thread. Costs a hand-over to another thread and back, some microseconds, beside the reading itself.
[[nodiscard]] inline future<std::string> read_file(std::filesystem::path path,
                                                   std::source_location from = std::source_location::current()) {
  return detail::start_read(std::move(path), from);
}

/// Writes a file anew: made if there is none, its contents replaced if there is one. `bytes` are a std::string or a
/// std::vector of char, unsigned char, std::byte or the like, moved in without a copy if given away by std::move; or anything
/// that converts to std::string_view, or lies in a row as a std::span does: then they are copied within the call.
///
/// The future says that they are down, as far as `how` promises. Dropping it does not wait and does not stop: the file is
/// written all the same, an error is reported as every error that nobody took, and a normal end of the program waits for all
/// writes (as long as they get on: ERRAND_EXIT_DEADLINE); _exit() and a crash do not. Nor does a stop of the task that called, or of
/// what the future went into (then(), when_all(), …), undo it. Only request_stop() on this very future keeps a write from
/// being made, if no thread has taken it up yet; get() then throws operation_cancelled.
///
/// Writes that are under way at once are made in no order, also those of one file: wait for the first, or chain them.
///
/// Returns at once, unless more than 64 MiB (ERRAND_WRITE_BEHIND, in MiB) are under way, of all files and writers together: then
/// it returns when its own bytes are down, which parks a task and blocks a thread. get() throws
/// std::filesystem::filesystem_error with the path and the system's error; a file that could not be written to its end then has a part of the bytes, but for `atomic`. A relative path means the current directory at the
/// time of the call; links are followed. Throws std::bad_alloc, and then nothing is written. Any thread.
///
/// `durability::atomic` writes a file beside it, syncs that, renames it and syncs the directory: the file keeps its mode, and
/// its owner if the system allows that; it gets a new inode, so that hard links to the old one keep the old contents. For
/// regular files only. On an error the old file is as it was (but if only the last step failed, the sync of the directory) and
/// nothing is left beside it.
template <detail::writable_bytes Bytes>
[[nodiscard]] future<void> write_file(std::filesystem::path path, Bytes&& bytes, durability how = durability::cached,
                                      std::source_location from = std::source_location::current()) {
  return detail::start_write(std::move(path), detail::file_bytes::of(std::forward<Bytes>(bytes)),
                             detail::write_kind::replace, how, from);
}

/// The same behind what the file has already. `cached` or `synced`; for `atomic` it throws std::invalid_argument.
template <detail::writable_bytes Bytes>
[[nodiscard]] future<void> append_file(std::filesystem::path path, Bytes&& bytes, durability how = durability::cached,
                                       std::source_location from = std::source_location::current()) {
  return detail::start_write(std::move(path), detail::file_bytes::of(std::forward<Bytes>(bytes)),
                             detail::write_kind::append, how, from);
}

}  // namespace errand
