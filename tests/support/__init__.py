"""What tests of several suites start from: fakes, samples, waiting."""
