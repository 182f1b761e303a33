// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A struct that is not plain bytes needs a function that says what is in it; the complaint names the struct.
// expect: serialize(Archive& archive) { archive(first_member, second_member); }
// errors: 1
// names: person
#include <errand/process.hpp>
#include <errand/serialize.hpp>

#include <string>

struct person {
  std::string name;
  int age;
#ifndef MUST_NOT_COMPILE
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, age);
  }
#endif
};

int main() {
  return errand::async(errand::processes, [](person p) { return p.age; }, person{"Ann", 30}).get();
}
