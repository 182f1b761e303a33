// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A set of objects, by a mark for the address of each: to enter and to leave is one addition, whoever else enters and leaves. The
// marks for 4 MiB of memory are mapped at once and kept, so nothing is allocated where objects have been in the set before; they
// are found by the number of that region, through lists that only grow (M. Michael, SPAA 2002, "High performance dynamic lock-free
// hash tables and list-based sets", without what removes). The argument: src/task/README.md, "Detached tasks".
#pragma once

#include "base/lock.hpp"

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <sys/mman.h>

namespace errand::detail {

/// Of objects whose addresses are multiples of 16. All but the destructor may be called by anybody at any time.
template <class T>
class address_marks {
 public:
  address_marks() = default;
  address_marks(address_marks const&) = delete;
  address_marks& operator=(address_marks const&) = delete;
  ~address_marks() {
    for (auto& first : buckets_)
      for (region* r = first.load(std::memory_order_relaxed); r != nullptr;) {
        region* const next = r->next;
        unmap(r);
        r = next;
      }
  }

  /// One that is not in it. Throws std::bad_alloc, and then it is not.
  void insert(T const& x) {
    region* r = find(x);
    if (r == nullptr) r = make(x);
    if (auto& used = r->used[row_of(x)]; !used.load(std::memory_order_relaxed)) used.store(true, std::memory_order_relaxed);
    // (M1) release: who finds the mark sees the object as made.
    word_of(*r, x).fetch_add(one_entry | mark_of(x), std::memory_order_release);  // (M1)
  }

  /// Whether it was there. When this returns no for_each() looks at it any more.
  bool erase(T const& x) noexcept {
    region* const r = find(x);
    if (r == nullptr || !is_marked(*r, x)) return false;
    // (M2) seq_cst: first the mark is away, then it is seen whether somebody looks; pairs with (M2) in for_each().
    word_of(*r, x).fetch_sub(mark_of(x), std::memory_order_seq_cst);
    if (r->looked_at.load(std::memory_order_seq_cst)) std::lock_guard const until_it_has_gone_on{r->looking};  // (M2)
    return true;
  }

  [[nodiscard]] bool contains(T const& x) const noexcept {
    region* const r = find(x);
    return r != nullptr && is_marked(*r, x);
  }

  /// How many were there, and how many have ever entered (modulo a number too large to come back to): at one moment only if none
  /// entered while they were counted, which a second count tells.
  struct tally {
    std::size_t there = 0;
    std::uint64_t ever = 0;
  };
  [[nodiscard]] tally count() const noexcept {
    tally all;
    for_each_region([&](region& r) {
      for_each_word(r, [&](std::size_t, std::uint64_t word) {
        all.there += static_cast<std::size_t>(std::popcount(word & all_marks));
        all.ever += word / one_entry;
      });
    });
    return all;
  }

  /// Calls f for each that is there; none leaves while f looks at it.
  template <class F>
  void for_each(F f) {
    for_each_region([&](region& r) {
      std::lock_guard const held{r.looking};
      looks_at const it_is{r};
      for_each_word(r, [&](std::size_t i, std::uint64_t word) {
        for (auto w = word & all_marks; w != 0; w &= w - 1) {
          auto const place = i * marks_in_word + static_cast<std::size_t>(std::countr_zero(w));
          f(*reinterpret_cast<T*>(r.number * covered + place * step));
        }
      });
    });
  }

 private:
  static constexpr std::size_t step = 16;
  static constexpr std::size_t marks_in_word = 32;  // the other half counts those that have entered
  static constexpr std::size_t words_in_region = 8192;
  static constexpr std::size_t words_in_row = 64;
  static constexpr std::size_t covered = words_in_region * marks_in_word * step;
  static constexpr std::uint64_t one_entry = std::uint64_t{1} << marks_in_word;
  static constexpr std::uint64_t all_marks = one_entry - 1;
  static constexpr int log_of_buckets = 10;

  // In memory that the system gives as zeros, page by page as it is touched.
  struct alignas(64) region {
    std::uintptr_t number;  // of what it covers; this and the next are written before it is shown
    region* next;
    std::atomic<bool> looked_at;
    small_lock looking;  // of those who look
    // Whether anything has ever been in a row; written by who enters, before he does.
    alignas(64) std::array<std::atomic<bool>, words_in_region / words_in_row> used;
    alignas(64) std::array<std::atomic<std::uint64_t>, words_in_region> words;
  };

  struct looks_at {
    // (M2) seq_cst: said before it is seen who is there; pairs with (M2) in erase().
    explicit looks_at(region& r) noexcept : at{r} { at.looked_at.store(true, std::memory_order_seq_cst); }
    looks_at(looks_at const&) = delete;
    looks_at& operator=(looks_at const&) = delete;
    ~looks_at() { at.looked_at.store(false, std::memory_order_relaxed); }
    region& at;
  };

  static std::uintptr_t number_of(T const& x) noexcept { return reinterpret_cast<std::uintptr_t>(&x) / covered; }
  static std::size_t place_of(T const& x) noexcept { return reinterpret_cast<std::uintptr_t>(&x) % covered / step; }
  static std::size_t row_of(T const& x) noexcept { return place_of(x) / (marks_in_word * words_in_row); }
  static std::uint64_t mark_of(T const& x) noexcept { return std::uint64_t{1} << place_of(x) % marks_in_word; }
  static std::atomic<std::uint64_t>& word_of(region& r, T const& x) noexcept { return r.words[place_of(x) / marks_in_word]; }
  // Nobody but who lets go of x, and x at its end, changes this mark.
  static bool is_marked(region& r, T const& x) noexcept {
    return (word_of(r, x).load(std::memory_order_relaxed) & mark_of(x)) != 0;
  }
  // D. Knuth, TAOCP 3, 6.4: Fibonacci hashing.
  static std::size_t bucket_of(T const& x) noexcept {
    return (std::uint64_t{number_of(x)} * 0x9E3779B97F4A7C15U) >> (64 - log_of_buckets);
  }

  [[nodiscard]] static region* find_from(region* r, std::uintptr_t number) noexcept {
    while (r != nullptr && r->number != number) r = r->next;
    return r;
  }
  // (M4) acquire: sees the region as made; pairs with the release in make().
  [[nodiscard]] region* find(T const& x) const noexcept {
    return find_from(buckets_[bucket_of(x)].load(std::memory_order_acquire), number_of(x));  // (M4)
  }
  [[gnu::noinline]] region* make(T const& x) {
    region* const made = map();
    made->number = number_of(x);
    auto& first = buckets_[bucket_of(x)];
    made->next = first.load(std::memory_order_acquire);  // (M4)
    do {
      if (region* const others = find_from(made->next, made->number); others != nullptr) {
        unmap(made);
        return others;
      }
    } while (!first.compare_exchange_weak(made->next, made, std::memory_order_acq_rel, std::memory_order_acquire));  // (M4)
    return made;
  }
  template <class F>
  void for_each_region(F f) const {
    for (auto const& first : buckets_)
      for (region* r = first.load(std::memory_order_acquire); r != nullptr; r = r->next) f(*r);  // (M4)
  }
  template <class F>
  static void for_each_word(region& r, F f) {
    for (std::size_t row = 0; row != r.used.size(); ++row) {
      if (!r.used[row].load(std::memory_order_relaxed)) continue;
      for (std::size_t i = row * words_in_row; i != (row + 1) * words_in_row; ++i)
        // (M3) seq_cst, and so acquire. Who leaves has entered before whatever it has entered; who counts has said so before.
        f(i, r.words[i].load(std::memory_order_seq_cst));  // (M1) (M2) (M3)
    }
  }

  static region* map() {
    void* const room = ::mmap(nullptr, sizeof(region), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) throw std::bad_alloc{};
    return static_cast<region*>(room);
  }
  static void unmap(region* r) noexcept { ::munmap(r, sizeof(region)); }

  std::array<std::atomic<region*>, std::size_t{1} << log_of_buckets> buckets_{};
};

}  // namespace errand::detail
