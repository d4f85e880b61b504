package gateway

import "github.com/danielgtaylor/huma/v2/validation"

// init puts plain words in place of huma's "expected number >= 1". They are
// huma's only setting that is global, and the gateway is its only user.
func init() {
	validation.MsgUnexpectedProperty = "unknown field"
	validation.MsgExpectedRequiredProperty = "the field %s is missing"
	validation.MsgExpectedBoolean = "must be true or false"
	validation.MsgExpectedNumber = "must be a number"
	validation.MsgExpectedInteger = "must be a whole number"
	validation.MsgExpectedString = "must be a string"
	validation.MsgExpectedArray = "must be a list"
	validation.MsgExpectedObject = "must be an object"
	validation.MsgExpectedOneOf = "must be one of: %s"
	validation.MsgExpectedMinimumNumber = "must be at least %v"
	validation.MsgExpectedMaximumNumber = "must be at most %v"
	validation.MsgExpectedMinLength = "must have at least %d characters"
	validation.MsgExpectedMaxLength = "must have at most %d characters"
	validation.MsgExpectedMaxItems = "must have at most %d entries"
}
