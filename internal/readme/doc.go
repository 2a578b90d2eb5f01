// Package readme holds the tests that keep the written word true: the quickstart of README.md
// compiles and runs, links lead to files, and every test and function that the documents name
// is there.
package readme
