// Lists a .tar.gz with Go's own readers: a JSON object of name to size in bytes.
package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
)

func main() {
	file, err := os.Open(os.Args[1])
	check(err)
	unzipped, err := gzip.NewReader(file)
	check(err)
	reader := tar.NewReader(unzipped)
	sizes := map[string]int64{}
	for {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		check(err)
		size, err := io.Copy(io.Discard, reader)
		check(err)
		sizes[header.Name] = size
	}
	check(json.NewEncoder(os.Stdout).Encode(sizes))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
