// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A parser that one would rather not trust is run over a folder. Some files crash it, one makes it run for ever, one makes it
// eat all memory. It runs in worker processes with limits: each such file costs its own result, and the report says why.
#include <errand/process.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include <unistd.h>

using namespace std::chrono_literals;
namespace fs = std::filesystem;

// ---- the parser: right for right files

std::map<std::string, long> const weights = {{"apple", 180}, {"pear", 170}, {"melon", 1500}};

long weight_of(std::string const& fruit) {
  auto const found = weights.find(fruit);
  long const volatile* const weight = found != weights.end() ? &found->second : nullptr;
  return *weight;  // of a fruit that it does not know: null
}

long box_in_box(long depth) {
  std::string const label = "box " + std::to_string(depth);
  return depth == 0 ? 0 : static_cast<long>(label.size()) + box_in_box(depth - 1);  // below zero there is no end
}

// Grams: "apple 3" or "melon 1" a line. "box" takes a depth, "share" a number of people, "note" a length.
long parse(std::string const& path) {
  std::ifstream list{path};
  long grams = 0;
  for (std::string word, number; list >> word >> number;) {
    if (number.find_first_not_of("-0123456789") != std::string::npos)
      throw std::invalid_argument{number + " is no number"};
    long const n = std::stol(number);
    if (word == "box") {
      grams += box_in_box(n);
    } else if (word == "share") {
      for (volatile long left = grams; left > 0;) left = left - n;  // among nobody it is never at an end
    } else if (word == "note") {
      std::string note = " ";
      while (note.size() < static_cast<std::size_t>(n)) note += note;
      grams += static_cast<long>(note.size()) / 100;
    } else if (n < 0) {
      std::abort();
    } else {
      grams += n * weight_of(word);
    }
  }
  return grams;
}

// ---- the program

struct outcome {
  char const* kind;
  std::string text;
  long grams = 0;
};

outcome outcome_of(errand::future<long>& result) {
  try {
    long const grams = result.get();
    return {"parsed", std::to_string(grams) + " g", grams};
  } catch (errand::process_died const& e) {
    return {"crashed", e.signal() != 0 ? ::strsignal(e.signal()) : "it called exit"};
  } catch (errand::timed_out const&) {
    return {"killed", "no end after half a second"};
  } catch (std::bad_alloc const&) {
    return {"out of memory", "16 MiB are not enough"};
  } catch (std::exception const& e) {  // what the parser itself throws arrives as it was thrown
    return {"refused", e.what()};
  }
}

int main() {
  auto const folder = fs::temp_directory_path() / ("errand-example-07-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::map<std::string, std::string> const lists = {{"breakfast.txt", "apple 1\npear 2\n"},
                                                    {"debts.txt", "apple 2\npear -3\n"},
                                                    {"diary.txt", "note 999999999999\n"},
                                                    {"dinner.txt", "melon 1\nbox 3\nshare 4\n"},
                                                    {"empty.txt", ""},
                                                    {"exotic.txt", "apple 1\nkumquat 5\n"},
                                                    {"hermit.txt", "melon 2\nshare 0\n"},
                                                    {"matryoshka.txt", "apple 7\nbox -1\n"},
                                                    {"picnic.txt", "note 200\nmelon 3\n"},
                                                    {"verbal.txt", "apple three\n"}};
  for (auto const& [name, text] : lists) std::ofstream{folder / name} << text;

  errand::process_pool careful{2, {.memory = 16 << 20, .time = 500ms}};
  std::map<std::string, errand::future<long>> results;  // by name, as the folder has no order
  for (auto const& file : fs::directory_iterator{folder})
    results.emplace(file.path().filename(), errand::async(careful, parse, file.path().string()));

  std::map<std::string, int> kinds;
  long grams = 0;
  for (auto& [name, result] : results) {
    auto const end = outcome_of(result);
    std::printf("%-15s %-14s %s\n", name.c_str(), end.kind, end.text.c_str());
    ++kinds[end.kind];
    grams += end.grams;
  }
  std::printf("\n%zu files", results.size());
  char const* between = ": ";
  for (auto const& [kind, count] : kinds) std::printf("%s%d %s", std::exchange(between, ", "), count, kind.c_str());
  std::printf("; %ld g in all\n", grams);

  fs::remove_all(folder);
  std::map<std::string, int> const right = {
      {"crashed", 3}, {"killed", 1}, {"out of memory", 1}, {"parsed", 4}, {"refused", 1}};
  return kinds == right && grams == 520 + 1515 + 0 + 4502 ? 0 : 1;
}
