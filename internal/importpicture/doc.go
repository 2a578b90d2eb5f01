// Package importpicture holds the test that keeps the import picture of ARCHITECTURE.md true:
// which package may import which. A package that has no place in the picture fails the test
// until it is given one in rooms_test.go, and so does a new dependency.
package importpicture
